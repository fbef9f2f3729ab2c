"""Prove a plan in a copy of the repository, with the same `check` that a user runs before a night."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from autoresearch_mlx import terms
from autoresearch_mlx.errors import AutoresearchError
from autoresearch_mlx.hardware.machine import read_machine
from autoresearch_mlx.hardware.profile import choose_profile
from autoresearch_mlx.lab.config import load_settings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.setup.about.copy import Copy, failure
from autoresearch_mlx.setup.about.plan import FOLDER, Plan
from autoresearch_mlx.setup.check import check
from autoresearch_mlx.targets.contract import Finding, Place
from autoresearch_mlx.targets.registry import kind_of, with_defaults
from autoresearch_mlx.targets.tools import Tools

_PREPARE_SECONDS = 300.0
_MOST_BYTES = 4_000_000
"""Largest size in bytes of a file of recorded calls."""


def _already(plan: Plan, copy: Copy) -> str:
    """Return a message if the number already has its best possible value; else return an empty string."""
    said = copy.run(plan.run, _PREPARE_SECONDS).said
    found = re.findall(rf"^METRIC {plan.metrics[0].name}=(\S+)$", said, re.MULTILINE)
    return (
        f"{plan.metrics[0].name} is {found[-1]} already, so nothing is left to gain"
        if found and float(found[-1]) == plan.best
        else ""
    )


@dataclass(frozen=True, slots=True)
class Proof:
    """A plan, and the result of the attempt to prove it."""

    plan: Plan
    findings: tuple[Finding, ...] = ()
    problem: str = ""
    """Why the plan is not proved: nothing could be measured, or a check failed.  Empty if the plan is proved."""
    files: Mapping[str, bytes] | None = None
    """The files with which the lab was checked, by path; None if the lab could not be checked."""

    @property
    def holds(self) -> bool:
        return not self.problem


def prove(
    plan: Plan, sentence: str, copy: Copy, runs: int, say: Callable[[str], None], show: Callable[[Finding], None]
) -> Proof:
    """Write a plan's files into the copy, run the shell lines that complete the files, and check the lab in the copy.

    ``runs`` is the number of runs of the unedited lab.  ``show`` is called with each finding as soon as it is known.
    """
    if missing := [need for need in plan.needs if Tools(copy.tools_folder, copy.tools).found(need) is None]:
        return Proof(plan, problem=f"{missing[0]} is not installed here")
    copy.reset()
    if copy.tools_folder.is_dir():
        plan = replace(plan, tools_folder=copy.tools.folder)
    copy.write(plan.all_files(sentence))
    for line in plan.prepare:
        say(f"runs {line}")
        ran = copy.run(line, _PREPARE_SECONDS)
        if not ran.passed:
            return Proof(plan, problem=ran.words())
    if plan.best is not None and (best := _already(plan, copy)):
        return Proof(plan, problem=best)
    files = {name: (copy.root / name).read_bytes() for name in plan.all_files(sentence)}
    for made in sorted((copy.root / FOLDER).glob("calls.*")):
        if made.stat().st_size > _MOST_BYTES:
            said = f"{made.name} has {made.stat().st_size:,} bytes, more than {_MOST_BYTES:,}"
            return Proof(plan, problem=said)
        files[f"{FOLDER}/{made.name}"] = made.read_bytes()
    copy.reset()
    copy.write(files)
    copy.commit(sorted(files))
    findings = []
    try:
        settings = load_settings(copy.root).settings
        settings = with_defaults(settings, kind_of(settings, copy.root))
        machine = read_machine()
        place = Place(settings, Lab(copy.root), machine, choose_profile(machine, settings.hardware.profile), say)
        for finding in check(place, runs, say, plan.worse or None, copy.folder):
            findings.append(finding)
            show(finding)
            if finding.state == "fail":
                break
    except AutoresearchError as error:
        return Proof(plan, tuple(findings), failure(error))
    finally:
        copy.undo_commit()
    against = next((each for each in findings if each.state == "fail"), None)
    problem = "" if against is None else f"{against.name}: {terms.one_line(against.value)}"
    return Proof(plan, tuple(findings), problem, files)
