"""Print how many of checkov's checks fail; a check that a comment skips counts as failed."""

import json
import subprocess
from pathlib import Path

folder = json.loads(Path(__file__).with_name("terraform.json").read_text())["folder"]
command = ["checkov", "--directory", folder, "--framework", "terraform", "--output", "json", "--compact", "--quiet"]
done = subprocess.run([*command, "--soft-fail"], capture_output=True, text=True)
try:
    report = json.loads(done.stdout)
except json.JSONDecodeError:
    raise SystemExit(f"checkov gave no report: {(done.stderr or done.stdout)[-300:]}") from None
reports = report if isinstance(report, list) else [report]
counts = [each.get("summary", each) for each in reports]
if sum(each.get("parsing_errors", 0) for each in counts):
    raise SystemExit("checkov could not read one of the files")
print(f"METRIC findings={sum(each.get('failed', 0) + each.get('skipped', 0) for each in counts)}")
print(f"METRIC passed={sum(each.get('passed', 0) for each in counts)}")
