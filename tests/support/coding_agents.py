"""Imitations of coding agents: programs of their names that take the same options, put on PATH."""

from __future__ import annotations

import sys
from pathlib import Path

NEEDED = {
    "claude": "-p --permission-mode acceptEdits",
    "codex": "exec -s workspace-write -",
    "opencode": "run",
    "pi": "-p --no-session",
    "qwen": "--approval-mode auto-edit",
    "gemini": "--approval-mode auto_edit --skip-trust",
    "aider": "--yes-always --no-auto-commits --edit-format diff --message-file /dev/stdin solver.py",
    "mini": "-y --exit-immediately -t",
}
"""Words that the command line of each agent must contain; without them the imitation edits nothing."""

_PROGRAM = """\
#!{python} -S
import os, pathlib, subprocess, sys
args = sys.argv[1:]
told = args[args.index("-t") + 1] if "-t" in args else sys.stdin.read()
if told.startswith("Read and do: "):
    told = pathlib.Path(told.removeprefix("Read and do: ")).read_text()
pathlib.Path({log!r}).write_text("\\n".join([*args, "", told]))
if {name!r} == "mini":
    assert os.environ["MSWEA_COST_TRACKING"] == "ignore_errors"
missing = [word for word in {needed!r}.split() if word not in args]
if "Read program.md" in told:
    assert subprocess.call(["sh", "-ec", {driving!r}]) == 0
elif missing or "solver.py" not in told:
    print("I may not edit without", *missing)
else:
    file = pathlib.Path("solver.py")
    file.write_text(file.read_text().replace("4.0", "3.5"))
    print("TITLE: X nearer")
"""


def imitate(folder: Path, name: str, driving: str = "true") -> Path:
    """Write an agent's imitation into a folder for PATH; return the file in which it records its arguments and prompt.

    When it is told to read program.md, it runs the shell line ``driving``.
    """
    folder.mkdir(exist_ok=True)
    log, program = folder / f"{name}.told", folder / name
    text = _PROGRAM.format(python=sys.executable, log=str(log), name=name, needed=NEEDED[name], driving=driving)
    program.write_text(text)
    program.chmod(0o755)
    return log
