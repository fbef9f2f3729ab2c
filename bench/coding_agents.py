"""Run the real coding agents against a scripted model on this machine, offline: can each edit a lab, and drive one?

    .venv/bin/python -m bench.coding_agents --bin node_modules/.bin [--bin DIR ...] [--only claude ...] [--seconds 40]

``autoresearch_mlx/agents/presets.py`` says how to install each agent.  Every agent that is found gets its own home
folder and labs, and a model that follows a script:

edits     `run --agent NAME` for one experiment; the model edits a file and says its title
drives    `drive NAME`: the model edits, calls `try --detach` and `wait`, and reads the verdict; its edit is measured
          for --seconds
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoresearch_mlx.agents.presets import PRESETS, Preset
from bench.scripted_api import Replace, Say, ScriptedModel, Shell, Step

BENCH = """\
import sys, time
from solver import X
time.sleep(0 if X == 4.0 else float(sys.argv[1]))
print(f"METRIC score={X:.6f}")
"""
LAB = '[target]\nkind = "command"\neditable = ["solver.py"]\nrun = "{run}"\nmetric = "score"\n'
VERDICT = "experiment 1: keep"
EDITED = "TITLE: X nearer\nWHY: it is smaller"
RANGE = "  # knob: lin 0 10"
AIDERS_EDIT = Say(
    f"solver.py\n```\n<<<<<<< SEARCH\nX = 4.0{RANGE}\n=======\nX = 3.5{RANGE}\n>>>>>>> REPLACE\n```\n{EDITED}"
)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--bin", action="append", default=[], type=Path, help="folder with programs; may be repeated")
    parser.add_argument("--only", nargs="*", default=[preset.name for preset in PRESETS])
    parser.add_argument("--seconds", type=float, default=40.0, help="length of the measurement made by drive")
    parser.add_argument("--keep", type=Path, help="keep the labs, the homes and the outputs in this folder")
    wanted = parser.parse_args()
    print(f"{'agent':10} {'version':10} {'edits':8} {'drives':8}")
    for preset in PRESETS:
        if preset.name in wanted.only:
            print("{:10} {:10} {:8} {:8}".format(preset.name, *row(preset, wanted)), flush=True)


def row(preset: Preset, wanted: Namespace) -> tuple[str, str, str]:
    path = os.pathsep.join([*map(str, map(Path.absolute, wanted.bin)), os.environ["PATH"]])
    program = shutil.which(preset.name, path=path)
    if program is None:
        return "absent", "-", "-"
    with tempfile.TemporaryDirectory() as folder:
        room = (wanted.keep or Path(folder)) / preset.name
        shutil.rmtree(room, ignore_errors=True)
        room.mkdir(parents=True)
        environment = surroundings(room, path, "http://127.0.0.1:9")
        asked = subprocess.run([program, "--version"], env=environment, capture_output=True, text=True, timeout=120)
        said = asked.stdout + asked.stderr  # pi prints its version to standard error
        version = next((word for word in said.split() if word[0].isdigit()), "?").rstrip(".")
        return version, edits(preset, room, path), drives(preset, room, path, wanted.seconds)


def edits(preset: Preset, room: Path, path: str) -> str:
    """Let the loop call the agent for one experiment; return whether its edit was measured."""
    lab = make_lab(room / "edits", 0)
    tree = lab / ".autoresearch" / "t" / "worktree"
    steps: list[Step] = [Replace(str(tree / "solver.py"), "X = 4.0", "X = 3.5"), Say(EDITED)]
    if preset.name == "aider":
        steps = [AIDERS_EDIT]
    if preset.name == "mini":
        steps[1] = Shell(f"echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT; printf '{EDITED}'")
    command = [*TOOL, "run", "--agent", preset.name, "--experiments", "1", "--tag", "t"]
    with ScriptedModel(steps) as model:
        output(command, lab, surroundings(room, path, model.url), room / "edits.log")
    found = [e for e in experiments(lab) if e["number"] == 1]
    good = bool(found) and found[0]["status"] == "keep" and found[0]["knobs"] == {"X": [4.0, 3.5]}
    return "yes" if good and found[0]["title"] == "X nearer" and found[0]["agent"] == preset.name else "NO"


def drives(preset: Preset, room: Path, path: str, seconds: float) -> str:
    """Put the agent in charge of a lab; return whether it has measured its edit and read the verdict."""
    lab, tool = make_lab(room / "drives", seconds), " ".join(TOOL)
    steps: list[Step] = [
        Replace(str(lab / "solver.py"), "X = 4.0", "X = 3.5"),
        Shell(f"{tool} try --detach -m 'X nearer'"),
        Shell(f"{tool} wait 1", until=VERDICT),
        Say("Done."),
    ]
    if preset.name == "aider":
        steps = [AIDERS_EDIT]
    if preset.name == "mini":
        steps[-1] = Shell("echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT")
    with ScriptedModel(steps) as model:
        began = time.monotonic()
        output([*TOOL, "drive", preset.name], lab, surroundings(room, path, model.url), room / "drives.log")
        (room / "drives.seconds").write_text(f"{time.monotonic() - began:.1f}")
        (room / "drives.json").write_text(json.dumps(model.bodies, indent=1))
        read = any(VERDICT in json.dumps(body) for body in model.bodies)
    done = subprocess.run([*TOOL, "wait", "1"], cwd=lab, capture_output=True, text=True)
    measured = done.stdout.startswith(VERDICT)
    return "yes" if measured and read else "not read" if measured else "NO"


TOOL = [str(Path(sys.executable).with_name("autoresearch-mlx"))]


def make_lab(root: Path, seconds: float) -> Path:
    root.mkdir()
    (root / "solver.py").write_text(f"X = 4.0{RANGE}\n")
    (root / "bench.py").write_text(BENCH)
    (root / "program.md").write_text("Lower X.\n")
    (root / "lab.toml").write_text(LAB.format(run=f"{sys.executable} -S bench.py {seconds}"))
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for command in (["init", "--quiet"], ["add", "-A"], [*identity, "commit", "--quiet", "-m", "a lab"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    return root


def output(command: list[str], lab: Path, environment: Mapping[str, str], log: Path, prompt: str = "") -> None:
    """Run a command, and write its output to ``log``; after ten minutes the command gets a signal, and then ends its
    agent."""
    with log.open("w") as kept:
        ran = subprocess.Popen(command, cwd=lab, env=environment, stdin=subprocess.PIPE, stdout=kept, stderr=kept)
        try:
            ran.communicate(prompt.encode(), timeout=600)
        except subprocess.TimeoutExpired:
            ran.terminate()
            kept.write("\nended after ten minutes\n")
            ran.wait(60)


def experiments(lab: Path) -> list[dict[str, Any]]:
    ledger = lab / ".autoresearch" / "t" / "ledger.jsonl"
    events = [json.loads(line) for line in ledger.read_text().splitlines()] if ledger.exists() else []
    return [event for event in events if event["event"] == "finished"]


def surroundings(room: Path, path: str, url: str) -> dict[str, str]:
    """Return an environment in which each agent finds the scripted model, and none of the user's own settings."""
    home = room / "home"
    (home / ".cache" / "autoresearch-mlx").mkdir(parents=True, exist_ok=True)
    for name, text in settings(url).items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    return {
        "HOME": str(home),
        "PATH": path,
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "none",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_API_BASE": f"{url}/v1",
        "OPENAI_API_KEY": "none",
        "OPENAI_MODEL": "scripted",
        "GEMINI_API_KEY": "none",
        "GOOGLE_GEMINI_BASE_URL": url,
        "AIDER_MODEL": "openai/scripted",
        "AIDER_ANALYTICS": "false",
        "MSWEA_CONFIGURED": "true",
        "MSWEA_MODEL_NAME": "openai/scripted",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }


def settings(url: str) -> dict[str, str]:
    """Return the texts of the agents' own settings files, by their paths below the home folder."""
    models = {"scripted": {"name": "scripted", "limit": {"context": 100_000, "output": 8_000}}}
    local = {"npm": "@ai-sdk/openai-compatible", "name": "local", "options": {"baseURL": f"{url}/v1", "apiKey": "none"}}
    opencode = {"model": "local/scripted", "autoupdate": False, "provider": {"local": {**local, "models": models}}}
    pi = {"baseUrl": f"{url}/v1", "api": "openai-completions", "apiKey": "none", "models": [{"id": "scripted"}]}
    codex = f"""\
model = "scripted"
model_provider = "local"
[model_providers.local]
name = "local"
base_url = "{url}/v1"
wire_api = "responses"
"""
    return {
        ".codex/config.toml": codex,
        ".config/opencode/opencode.json": json.dumps(opencode),
        ".pi/agent/models.json": json.dumps({"providers": {"local": pi}}),
        ".pi/agent/settings.json": json.dumps({"defaultProvider": "local", "defaultModel": "scripted"}),
        ".qwen/settings.json": json.dumps({"security": {"auth": {"selectedType": "openai"}}}),
        ".gemini/settings.json": json.dumps(
            {"security": {"auth": {"selectedType": "gemini-api-key"}}, "model": {"name": "gemini-2.5-flash"}}
        ),
    }


if __name__ == "__main__":
    main()
