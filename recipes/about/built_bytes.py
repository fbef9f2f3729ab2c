"""Build, and print the gzip bytes of all files that the build makes; `--write` records what the first build makes.

The build runs in a copy of this folder, without what earlier builds have left.
"""

import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

NOTES = Path(__file__).with_name("built.json")
ROOT = NOTES.parent.parent
ELSEWHERE = {".git", ".autoresearch", "node_modules", ".venv", "venv", ".tools", "measuring"}


def files(folder):
    """Return the time and size of each file below a folder, to show which files change."""
    found = {}
    for path, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in ELSEWHERE]
        for name in names:
            each = Path(path) / name
            found[str(each.relative_to(folder))] = (each.stat().st_mtime_ns, each.stat().st_size)
    return found


def built(line):
    """Build in a copy; return the bytes of each new or changed file."""
    with tempfile.TemporaryDirectory() as temporary:
        tree = Path(temporary) / "tree"
        shutil.copytree(ROOT, tree, ignore=lambda folder, names: ELSEWHERE & set(names), symlinks=True)
        modules = [each / "node_modules" for each in (ROOT, *ROOT.parents) if (each / "node_modules").is_dir()]
        if modules:
            (tree / "node_modules").symlink_to(modules[0])
        for folder in settings["folders"]:
            shutil.rmtree(tree / folder, ignore_errors=True)
        before = files(tree)
        done = subprocess.run(["sh", "-c", line], cwd=tree, capture_output=True)
        if done.returncode:
            said = (done.stderr or done.stdout).decode(errors="replace")[-300:]
            raise SystemExit(f"{line} ended with exit code {done.returncode}: {said}")
        after = files(tree)
        return {path: (tree / path).read_bytes() for path in after if before.get(path) != after[path]}


settings = json.loads(NOTES.read_text())
if __name__ == "__main__":
    made = {path: data for path, data in built(settings["build"]).items() if not path.endswith(".map")}
    if not made:
        raise SystemExit(f"{settings['build']} makes no file")
    if "--write" in sys.argv:
        folders = {path.split("/")[0] for path in made if "/" in path}
        if mixed := folders & {path.split("/")[0] for path in settings["sources"]}:
            raise SystemExit(f"the build writes into {mixed.pop()}, which has sources; build into another folder")
        kinds = sorted({Path(path).suffix for path in made})
        NOTES.write_text(json.dumps({**settings, "folders": sorted(folders), "kinds": kinds}, indent=1) + "\n")
    else:
        if gone := set(settings["kinds"]) - {Path(path).suffix for path in made}:
            raise SystemExit(f"the build no longer makes a {gone.pop()} file")
        print(f"METRIC gzip_bytes={sum(len(gzip.compress(data, 9, mtime=0)) for data in made.values())}")
        print(f"METRIC files={len(made)}")
