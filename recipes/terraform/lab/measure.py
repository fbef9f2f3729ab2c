"""Print how many checks of checkov the configuration fails, and what could hide a failure: skips, files, resources."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

OPTIONS = ["--framework", "terraform", "--output", "json", "--compact", "--quiet", "--skip-download"]
LEFT_OUT = shutil.ignore_patterns("original", ".*")

with tempfile.TemporaryDirectory() as folder:  # checkov skips files in a folder such as .autoresearch
    tree = shutil.copytree(".", Path(folder) / "lab", ignore=LEFT_OUT)
    done = subprocess.run(["checkov", "--directory", str(tree), *OPTIONS], capture_output=True, text=True)
try:
    report = json.loads(done.stdout)
    summary, failed = report["summary"], report["results"]["failed_checks"]
except (ValueError, LookupError, TypeError):
    raise SystemExit(f"checkov found no Terraform here, or failed: {(done.stdout + done.stderr)[-500:]}") from None
for check in failed:
    print(f"{check['check_id']} {check['resource']}: {check['check_name']}", file=sys.stderr)
print(f"METRIC failed={summary['failed']}")
print(f"METRIC passed={summary['passed']}")
print(f"METRIC skipped={summary['skipped']}")
print(f"METRIC unread={summary['parsing_errors']}")
