"""Print how many of checkov's checks fail; a check that a comment skips counts as failed."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

OPTIONS = ["--framework", "terraform", "--output", "json", "--compact", "--quiet", "--soft-fail", "--skip-download"]
LEFT_OUT = shutil.ignore_patterns("measuring", ".*", "node_modules")

folder = json.loads(Path(__file__).with_name("terraform.json").read_text())["folder"]
with tempfile.TemporaryDirectory() as temporary:  # checkov skips files in a folder such as .autoresearch
    tree = shutil.copytree(folder, Path(temporary) / "lab", ignore=LEFT_OUT)
    done = subprocess.run(["checkov", "--directory", str(tree), *OPTIONS], capture_output=True, text=True)
try:
    report = json.loads(done.stdout)
    summary, failed = report["summary"], report["results"]["failed_checks"]
except (ValueError, LookupError, TypeError):
    raise SystemExit(f"checkov found no Terraform here, or failed: {(done.stderr or done.stdout)[-300:]}") from None
if summary["parsing_errors"]:
    raise SystemExit("checkov could not read one of the files")
if "--list" in sys.argv:
    print("\n".join(f"{check['check_id']} {check['resource']}: {check['check_name']}" for check in failed))
print(f"METRIC findings={summary['failed'] + summary['skipped']}")
print(f"METRIC passed={summary['passed']}")
