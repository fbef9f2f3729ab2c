"""Print how long the tests take, in seconds, with the start of pytest."""

import os
import subprocess
import sys
import tempfile
import time

with tempfile.TemporaryDirectory() as folder:  # what one run leaves there does not help the next
    environment = {**os.environ, "TMPDIR": folder, "PYTHONDONTWRITEBYTECODE": "1"}
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "pytest"], env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - began
if done.returncode:
    raise SystemExit(f"the tests fail (exit code {done.returncode}):\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
print(f"METRIC seconds={seconds:.4f}")
