"""Carry out the stage ``verify``: check that a built agent starts, is confined, and answers new questions.

The model that built the agent saw the dev cases but not the guard cases.  An agent with hard-coded answers has a high
dev score and a low guard score.  The hidden cases stay unused until the stage ``ship``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.experiment import Assignment, Measurement, Split
from autoresearch_mlx.lab.config import load_settings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop.session import place_of
from autoresearch_mlx.setup.factory.build import AGENT, fixed_files, parse_fault
from autoresearch_mlx.setup.factory.ledger import Problem
from autoresearch_mlx.targets.contract import Say
from autoresearch_mlx.targets.evals.appraisal import TRACES
from autoresearch_mlx.targets.evals.kind import EvalsKind
from autoresearch_mlx.targets.evals.target import Evals
from autoresearch_mlx.targets.registry import with_defaults

_SEED = 42
_PASSES = 0.5
"""Smallest ratio of the guard score to the dev score; a smaller ratio shows hard-coded answers."""


@dataclass(frozen=True, slots=True)
class Verified:
    """The results of the checks of one build; ``fault`` is empty if the build passed every check."""

    checks: tuple[tuple[str, str], ...] = ()
    """The checks that were passed, as (name, result)."""
    dev: float | None = None
    guard: float | None = None
    tokens: float | None = None
    """Mean number of tokens for a dev case; None if the server does not report tokens."""
    seconds: float | None = None
    """Mean number of seconds for a dev case."""
    fault: str = ""

    def told(self) -> dict[str, Any]:
        """Return the fields of the ledger's event."""
        scores = {"dev": self.dev, "guard": self.guard, "tokens": self.tokens, "seconds": self.seconds}
        return {"checks": [list(each) for each in self.checks], **scores}


def target_of(lab: Lab, private: tuple[Path, ...], say: Say) -> Evals:
    """Return the target that measures the agent in ``lab``.

    The sandbox hides the paths in ``private`` from the agent.  Raises LabError when there is no sandbox, because code
    that a model has written runs only in a sandbox.
    """
    settings = load_settings(lab.root).settings
    kind = EvalsKind()
    place = place_of(lab, with_defaults(settings, kind), say)
    target = kind.build(kind.settle(place), place)
    if (why := target.unconfined_because(private)) is not None:
        hint = "docs/sandbox.md says what a sandbox needs; the factory continues where it stopped"
        raise LabError(f"agents that a model wrote cannot be run here without a sandbox: {why}", hint)
    return target


def measured(target: Evals, tree: Path, folder: Path, split: Split = "val") -> Measurement:
    """Measure the agent in ``tree`` once, with ``folder`` emptied for the run's files.

    Raises EndpointError when the model's server does not answer.
    """
    return target.measure(_assignment(tree, folder, split))


def _assignment(tree: Path, folder: Path, split: Split = "val") -> Assignment:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return Assignment(tree, folder, _SEED, lambda progress: None, split=split)


def verify(problem: Problem, lab: Path, folder: Path, private: tuple[Path, ...], say: Say) -> Verified:
    """Check the last build of a problem's agent; the files of its runs go into ``folder``.

    Raises LabError and EndpointError.
    """
    assert problem.cases is not None and problem.builds
    found = Verified()
    build = problem.builds[-1]
    if fixed_files(lab) != build["fixed"]:
        return replace(found, fault="a file that comes from the template was changed")
    found = _with(found, "template", "the files of the template are unchanged")
    files = {AGENT: (lab / AGENT).read_text(encoding="utf-8")}
    if fault := parse_fault(files):
        return replace(found, fault=fault)
    target = target_of(Lab(lab), private, say)
    words = target.sandbox.words if target.sandbox is not None else ""
    found = _with(found, "sandbox", f"{words}: the cases and all other forbidden files were refused")
    found = _with(
        found,
        "network",
        "nothing but the harness's port, which leads to the model; a connection to a different port was refused",
    )
    # Two cases are tried first, because a program that never ends would use up the time limit of each case.
    first = target.smoke(_assignment(lab, folder))
    if first is not None and first.value is None:
        return replace(found, fault=f"it gives no answer: {first.reason}")
    m = measured(target, lab, folder)
    if m.value is None:
        return replace(found, fault=f"its cases could not be scored: {m.reason}")
    if m.extra["secondary"]["errors"]["value"] == 1.0:
        return replace(found, fault=f"it fails in each case: {_first_error(folder)}")
    return _scored(_with(found, "answers", "it was loaded and gave answers"), problem, m)


def _first_error(folder: Path) -> str:
    with (folder / TRACES).open(encoding="utf-8") as traces:
        return str(json.loads(traces.readline())["error"])


def _scored(found: Verified, problem: Problem, m: Measurement) -> Verified:
    assert problem.cases is not None and m.value is not None
    dev, guard = float(m.value), fmean(m.extra["guard"].values())
    secondary: Mapping[str, Any] = m.extra["secondary"]
    costs = {name: secondary[name]["value"] for name in ("tokens", "seconds")}
    found = replace(found, dev=dev, guard=guard, **costs)
    trivial: Mapping[str, float] = problem.cases["trivial"]
    counts: Mapping[str, int] = problem.cases["counts"]
    shown = f"dev {dev:.2f} of {counts['dev']} cases, guard {guard:.2f} of {counts['guard']}"
    if dev <= trivial["dev"]:
        return replace(found, fault=f"it is no better than a constant answer: {shown}")
    if guard <= trivial["guard"] or guard < _PASSES * dev:
        words = "it answers the cases that its builder was shown, but not the guard cases, as hard-coded answers do"
        return replace(found, fault=f"{words}: {shown}")
    return _with(found, "cases", shown)


def _with(found: Verified, name: str, words: str) -> Verified:
    return replace(found, checks=(*found.checks, (name, words)))
