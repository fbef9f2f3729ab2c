"""Labs of the target ``evals``: a copy of examples/tool-agent, and small labs with cases that a test gives."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conftest import ROOT, git

from autoresearch_mlx.experiment import Assignment, Measurement
from autoresearch_mlx.hardware.machine import read_machine
from autoresearch_mlx.hardware.profile import choose_profile
from autoresearch_mlx.lab.config import load_settings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.targets.contract import Place
from autoresearch_mlx.targets.evals.cases import Case, part_of
from autoresearch_mlx.targets.evals.target import Evals
from autoresearch_mlx.targets.registry import kind_of, with_defaults

EXAMPLE = ROOT / "examples" / "tool-agent"
MODEL = "def reply(messages, seed):\n    return f\"heard {messages[-1]['content']} with {seed}\"\n"
TOOLS = 'def shout(text):\n    """Return the text in capitals."""\n    return text.upper()\n'


def ids(part: str, count: int, stem: str = "case") -> list[str]:
    """Return ids whose hashes put them into this part of the cases."""
    found = (f"{stem}-{n}" for n in range(10_000))
    return [each for each in found if part_of(each, 0.5, 0.2) == part][:count]


def example_lab(root: Path) -> Lab:
    """Return a copy of the example under git."""
    shutil.copytree(EXAMPLE, root, ignore=shutil.ignore_patterns("__pycache__"))
    git(root, "init", "--quiet")
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", "a lab")
    return Lab(root)


def small_lab(root: Path, agent: str, questions: Sequence[Mapping[str, Any]], **options: Any) -> Lab:
    """Write a lab with one tool and a scripted model that repeats what it is sent."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "agent.py").write_text(agent)
    (root / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in questions))
    (root / "tools.py").write_text(TOOLS)
    (root / "model.py").write_text(MODEL)
    given = {"model": "scripted:model.py", "tools": "tools.py", "seconds": 5.0, **options}
    lines = [f"{name} = {json.dumps(value)}" for name, value in given.items()]
    (root / "lab.toml").write_text('[target]\nkind = "evals"\n\n[target.options]\n' + "\n".join(lines) + "\n")
    return Lab(root)


def target_of(lab: Lab) -> Evals:
    settings = load_settings(lab.root).settings
    kind, machine = kind_of(settings, lab.root), read_machine()
    place = Place(with_defaults(settings, kind), lab, machine, choose_profile(machine, "cpu"))
    built = kind.build(kind.settle(place), place)
    assert isinstance(built, Evals)
    return built


def measured(lab: Lab, run: Path, split: Any = "val") -> Measurement:
    """Make one run of a lab's own files; the files that it writes are in ``run``."""
    run.mkdir(parents=True, exist_ok=True)
    return target_of(lab).measure(Assignment(lab.root, run, 7, lambda progress: None, split=split))


def traces(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "traces.jsonl").read_text().splitlines()]


def known_answers(cases: Sequence[Case]) -> dict[str, str]:
    """Return the right answer to each question whose check contains it, as a cheating agent would hard-code it."""
    found = {}
    for case in cases:
        check = case.check
        if "schema" in check:
            fields = check["schema"]["properties"].items()
            found[case.input] = json.dumps({name: each["const"] for name, each in fields})
        elif "python" not in check:
            text = str(check.get("number", check.get("exact", check.get("regex"))))
            found[case.input] = text.replace("( Ltd)?", "")
    return found
