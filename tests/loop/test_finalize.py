"""A night becomes branches that a person can merge, each with a number of its own."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Recorder, Steps, git, opened

from autoresearch_mlx.errors import LabError, WorkspaceError
from autoresearch_mlx.experiment import Assignment, Measurement, Proposal
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.lab.source import read_knobs, set_knobs
from autoresearch_mlx.loop.finalize import Finding, finalize, planned
from autoresearch_mlx.loop.policy import Policy
from autoresearch_mlx.loop.research import measure_edit, research
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.report.pull_request import findings_table, pull_request
from autoresearch_mlx.targets.contract import TargetBase

KNOBS = "".join(f"K{n} = 0  # knob: int 0 9\n" for n in range(10)) + "LUCK = 0  # knob: int 0 99\n"
CODE = "\n\ndef gift(x):\n    return x\n"


class MadeUp(TargetBase):
    """A metric to be minimised: a knob's step gains 2, the code ``return x + 3`` gains 3, and LUCK is noise."""

    def __init__(self, session: Session) -> None:
        self.name, self.metric, self.direction = "made up", session.target.metric, session.target.direction

    def measure(self, assignment: Assignment) -> Measurement:
        text = (assignment.tree / "solver.py").read_text()
        if "BROKEN" in text and "K1 = 0" in text:
            return Measurement(None, assignment.seed, "crash", "ValueError: K1 must not be 0")
        knobs = {name: knob.value for name, knob in read_knobs(text).items()}
        gift = 3.0 if "return x + 3" in text else 0.0
        luck = random.Random(f"{assignment.seed} {knobs.pop('LUCK')}").gauss(0, 0.1)
        score = 100.0 - 2 * sum(knobs.values()) - gift
        noise = random.Random(f"{assignment.seed} of {score}").gauss(0, 0.1)
        return Measurement(score + luck + noise, assignment.seed)


@contextmanager
def made_up(lab: Lab) -> Iterator[Session]:
    (lab.root / "solver.py").write_text(KNOBS + CODE)
    git(lab.root, "commit", "--quiet", "--all", "-m", "mine")
    with opened(lab, "t", judge__mode="margin", judge__margin=0.0) as session:
        yield session.measuring(target=MadeUp(session))


def keep(session: Session, edit: dict[str, float] | tuple[str, str], title: str = "") -> None:
    def propose() -> Proposal:
        text = session.workspace.read(session.incumbent(session.journal().history))["solver.py"]
        text = set_knobs(text, edit) if isinstance(edit, dict) else text.replace(*edit)
        return Proposal(title or str(edit), {"solver.py": text}, agent="hand")

    done = measure_edit(session, propose, Recorder())
    assert done.status == "keep", done.reason


def lucky(seed: int = 42) -> int:
    """Return a value of LUCK with which the run on the session's seed looks better."""
    usual = random.Random(f"{seed} 0").gauss(0, 0.1)
    return next(n for n in range(1, 99) if random.Random(f"{seed} {n}").gauss(0, 0.1) < usual - 0.05)


def fingerprint(root: Path) -> str:
    """Return a hash of the user's checkout: every file, the index and HEAD."""
    files = sorted(p for p in root.rglob("*") if p.is_file() and not {".git", ".autoresearch"} & {*p.parts})
    mine = [root / ".git" / "index", root / ".git" / "HEAD"]
    return hashlib.sha256(b"".join(str(p).encode() + p.read_bytes() for p in [*files, *mine])).hexdigest()


def by_numbers(findings: list[Finding]) -> dict[tuple[int, ...], Finding]:
    return {f.change.numbers: f for f in findings}


@pytest.mark.slow
def test_a_night_of_twelve_keeps_becomes_a_branch_for_each_change_that_holds(command_lab: Lab) -> None:
    root = command_lab.root
    with made_up(command_lab) as session:
        for n in range(9):
            keep(session, {f"K{n}": 1})
        keep(session, {"K0": 2})
        keep(session, ("return x", "return x + 3"), "a gift")
        keep(session, {"LUCK": lucky()})
        (root / "notes.txt").write_text("mine, and not committed\n")
        before = fingerprint(root)
        findings = by_numbers(finalize(session, 4, "wins", Recorder()))
        assert fingerprint(root) == before
        assert set(findings) == {(1, 10), *((n,) for n in range(2, 10)), (11,), (12,)}
        noise = findings.pop((12,))
        assert noise.branch is None and noise.problem.startswith("not shown to gain alone: ")
        inside = []
        for numbers, f in findings.items():
            assert f.branch is not None and f.found is not None and f.found.certified, f
            true = {(1, 10): 4.0, (11,): 3.0}.get(numbers, 2.0)
            inside.append(f.found.low < true < f.found.high)
            assert abs(f.found.effect - true) < 0.5
            assert git(root, "rev-parse", f"{f.branch}^").strip() == session.start, "it begins at the user's commit"
            assert git(root, "diff", "--shortstat", session.start, f.branch).startswith("1 file changed")
            assert f.in_words() in git(root, "log", "-1", "--format=%B", f.branch)
        assert sum(inside) >= 8, "of eleven intervals of 90 %"
        assert findings[1, 10].title == "K0 0 -> 2" and findings[1, 10].branch == "wins/01-k0-0-2"
        heads = [f.branch or "" for f in findings.values()]
        git(root, "switch", "--quiet", "--detach", session.start)
        git(root, "merge", "--quiet", "-m", "all", findings[11,].branch or "", heads[0])  # they go together
        with pytest.raises(LabError, match="these branches exist already: wins/01"):
            finalize(session, 4, "wins", Recorder())


def test_it_continues_where_it_was_interrupted(command_lab: Lab) -> None:
    class Impatient(Recorder):
        def started(self, number: int, title: str, incumbent: float | None, eta_seconds: float | None) -> None:
            super().started(number, title, incumbent, eta_seconds)
            if len(self.titles) == 4:
                raise KeyboardInterrupt

    with made_up(command_lab) as session:
        keep(session, {"K0": 5})
        keep(session, {"K1": 5})
        first, second = Impatient(), Recorder()
        with pytest.raises(KeyboardInterrupt):
            finalize(session, 4, "wins", first)
        findings = finalize(session, 4, "wins", second)
        assert first.titles[3] == second.titles[0], "three runs were kept"
        assert all(f.branch for f in findings)
        assert not session.journal().alone, "the next one begins anew"


def test_a_change_that_does_not_run_alone_is_named(command_lab: Lab) -> None:
    with made_up(command_lab) as session:
        keep(session, {"K1": 5})
        keep(session, ("def gift", "BROKEN = 2\n\n\ndef gift"), "needs K1")
        findings = by_numbers(finalize(session, 4, "wins", Recorder()))
    assert findings[2,].problem == "does not run alone: crash: ValueError: K1 must not be 0"
    assert findings[2,].branch is None and findings[1,].branch is not None


def test_without_a_keep_or_with_a_bad_prefix_it_says_what_to_do(command_lab: Lab) -> None:
    with made_up(command_lab) as session:
        research(session, Steps(), Policy(experiments=0), Recorder())
        with pytest.raises(LabError, match="nothing has been kept yet"):
            planned(session)
        git(command_lab.root, "branch", "wins")
        for prefix in ("a..b", "-x~", "-x", "autoresearch/t", "", "wins/night", "wins/of/may"):
            with pytest.raises(WorkspaceError):
                session.workspace.refuse_prefix(prefix)


def test_the_table_fits_a_narrow_terminal(command_lab: Lab) -> None:
    with made_up(command_lab) as session:
        keep(session, {"K1": 5})
        findings = finalize(session, 4, "wins", Recorder())
    shown = findings_table(findings, 60)
    assert max(map(len, shown.splitlines())) <= 60 and "experiment 1: " in shown
    assert pull_request(findings[0], "score", "t", "a Mac", "+K1 = 5\n").startswith("# \\{'K1': 5\\}")


@pytest.mark.parametrize(
    ("title", "outside"),
    [
        ("\x1b[31mred\x1b[0m \x07\u202eleft\nSigned-off-by: x", "red left Signed-off-by: x"),
        ("as #7, closes #12 # 3", "as experiment 7, closes experiment 12 # 3"),
        ("K1 up (carried onto #3)", "K1 up"),
        ("L" * 10_000, "L" * 99 + "…"),
    ],
)
def test_a_title_can_be_read_outside_of_the_lab(command_lab: Lab, title: str, outside: str) -> None:
    with made_up(command_lab) as session:
        keep(session, {"K1": 5}, title)
        assert [f.title for f in planned(session)] == [outside]
