"""Check what must be true after every death, from the files alone, without the code that is being tortured."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Event = Mapping[str, Any]
_KNOWN = {"control.jsonl", "ledger.jsonl", "left_out.json", "lock", "results.tsv", "runs", "talks", "worktree"}
"""Names in the folder of a session that is not running."""


@dataclass
class Audit:
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def problems(self) -> list[str]:
        return [*self.lost, *self.doubled, *self.wrong]


def audit(root: Path, tag: str = "t") -> Audit:
    """Return everything that is wrong in a session that is not running."""
    found = Audit()
    folder = root / ".autoresearch" / tag
    events = list(_events(folder / "ledger.jsonl", found))
    _check_order(events, found)
    last = {e["number"]: e for e in events if e["event"] == "finished"}
    finished = sorted(last.values(), key=lambda e: events.index(e))
    _check_commits(root, tag, finished, found)
    _check_results(folder / "results.tsv", finished, found)
    kept = [e for e in finished if e["status"] == "keep"]
    _check_worktree(root, tag, kept[-1]["commit"] if kept else events[0]["start"], found)
    found.wrong += [f"left behind: {path.name}" for path in folder.iterdir() if path.name not in _KNOWN]
    return found


def _events(path: Path, found: Audit) -> Iterator[Event]:
    data = path.read_bytes()
    if not data.endswith(b"\n"):
        found.wrong.append("the ledger ends in the middle of a line")
    for number, line in enumerate(data.splitlines(), 1):
        try:
            yield json.loads(line)
        except ValueError:
            found.lost.append(f"line {number} of the ledger cannot be read")


def _check_order(events: Sequence[Event], found: Audit) -> None:
    """Check that there is one session line, and that each worker ends what it started, once, before it starts again."""
    if [e["event"] for e in events].count("session") != 1 or events[0]["event"] != "session":
        found.wrong.append("the ledger does not begin with its one session line")
    running: dict[int, Any] = {}
    ends: Counter[int] = Counter()
    baseline = False
    for event in events:
        kind, number = event["event"], event.get("number")
        if kind == "started":
            worker = event.get("worker")
            left = [number for number, whose in running.items() if None in (worker, whose) or worker == whose]
            found.lost += [f"#{number} was started and never ended" for number in left]
            if ends[event["number"]]:
                found.doubled.append(f"#{number} was started after it was finished")
            running[event["number"]] = worker
        elif kind in ("finished", "abandoned"):
            if number not in running:
                found.wrong.append(f"#{number} is {kind}, and was not started")
            running.pop(number, None)
            # A baseline that was cut off is measured again under its number, until one is kept.
            baseline = baseline or (number == 0 and event.get("status") == "keep")
            ends[event["number"]] += kind == "finished" and (number != 0 or baseline)
    found.lost += [f"#{number} was started and never ended" for number in running]
    found.doubled += [f"#{number} was finished {times} times" for number, times in ends.items() if times > 1]
    numbers = sorted(ends)
    if numbers != list(range(len(numbers))):
        found.lost.append(f"numbers are missing: {numbers}")


def _check_commits(root: Path, tag: str, finished: Sequence[Event], found: Audit) -> None:
    """Check that each commit of the ledger is complete and under its ref, and changes only solver.py of its base."""
    listed = _git(root, "for-each-ref", "--format=%(objectname) %(refname)", f"refs/autoresearch/{tag}/")
    refs = dict(reversed(line.split()) for line in listed.splitlines())
    for e in finished:
        if e["commit"] is None:
            continue
        if refs.pop(e["ref"], None) != e["commit"]:
            found.lost.append(f"#{e['number']}: {e['ref']} is not its commit {e['commit'][:7]}")
        elif _git(root, "rev-parse", f"{e['commit']}^") != e["base"]:
            found.wrong.append(f"#{e['number']}: its commit is not on its base")
        elif _git(root, "diff", "--name-only", e["base"], e["commit"]) not in ("", "solver.py"):
            found.wrong.append(f"#{e['number']}: its commit changes more than solver.py")
    found.wrong += [f"{ref} belongs to no experiment" for ref in refs]


def _check_results(path: Path, finished: Sequence[Event], found: Audit) -> None:
    """Check that results.tsv is the ledger's view: a row for each finished experiment, in its order."""
    header, *rows = [line.split("\t") for line in path.read_text().splitlines()] if path.exists() else [[]]
    wanted = [
        [(e["commit"] or "")[:7], "0.000000" if e["value"] is None else f"{e['value']:.6f}", e["status"], e["number"]]
        for e in finished
    ]
    told = [[row[0], row[1], row[header.index("verdict")], int(row[header.index("number")])] for row in rows]
    if told != wanted:
        found.wrong.append(f"results.tsv has {told[-3:]}, the ledger {wanted[-3:]}")


def _check_worktree(root: Path, tag: str, incumbent: str, found: Audit) -> None:
    """Check that the branch is at the incumbent, the worktree is clean on it, and the user's checkout is unchanged."""
    worktree = root / ".autoresearch" / tag / "worktree"
    if (tip := _git(root, "rev-parse", f"refs/heads/autoresearch/{tag}")) != incumbent:
        found.wrong.append(f"the branch is at {tip[:7]}, the incumbent is {incumbent[:7]}")
    if (head := _git(worktree, "symbolic-ref", "HEAD")) != f"refs/heads/autoresearch/{tag}":
        found.wrong.append(f"the worktree is on {head}")
    if left := _git(worktree, "status", "--porcelain", "--ignored"):
        found.wrong.append(f"the worktree is not clean: {left}")
    if locks := [path.name for path in (root / ".git").rglob("*.lock")]:
        found.wrong.append(f"locks of dead processes: {locks}")


def _git(where: Path, *arguments: str) -> str:
    """Return git's answer, or its error message, which then differs from the expected answer."""
    done = subprocess.run(["git", *arguments], cwd=where, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else f"git: {done.stderr.strip()}"
