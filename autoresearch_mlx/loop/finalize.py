"""Turn the keeps of a session into branches that the user can merge, one for each change that is a gain on its own.

Every change is measured alone, on new seeds, in runs that alternate with runs of the baseline.  Every run is logged
when it ends, so a `finalize` that was killed can continue where it stopped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.errors import LabError
from autoresearch_mlx.experiment import Measurement
from autoresearch_mlx.judge.certificate import Certificate, certificate, in_words
from autoresearch_mlx.judge.evidence import Run
from autoresearch_mlx.judge.history import noise_of
from autoresearch_mlx.judge.speeds import log_work
from autoresearch_mlx.lab.source import changed_knobs, describe, only_knobs_differ
from autoresearch_mlx.loop.attempt import CARRIED
from autoresearch_mlx.loop.independent import Change, Files, Step, apply, cancelled, changes_of, kept
from autoresearch_mlx.loop.measure import Order, fresh_split, measure, undisturbed
from autoresearch_mlx.loop.screen import Screen
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.loop.upkeep import tell_of_machine
from autoresearch_mlx.store.journal import now
from autoresearch_mlx.store.records import measurement_from, measurement_to

_SEEDS = 2_000_000
"""First seed of these runs, counted from the session's seed; experiments begin at 0, certifications at a million."""
_BASELINE: tuple[int, ...] = ()
"""Name of the baseline where a change is named by the numbers of its experiments: no numbers."""
_TITLE = 100
"""Longest title of a change, in columns; the title becomes the first line of a commit, and of a pull request."""
_SLUG = 40
"""Largest number of characters of a title in the name of a branch."""


@dataclass(frozen=True, slots=True)
class Finding:
    """All that is known about one change."""

    change: Change
    title: str
    found: Certificate | None
    """The gain of the change alone over the baseline, or None if this gain has not been measured."""
    problem: str = ""
    """Why the change gets no branch, or an empty string if it gets one."""
    branch: str | None = None
    commit: str | None = None
    with_preset: bool = False
    """Whether the branch also has this machine's knob values, because the change does not apply without them."""

    def in_words(self) -> str:
        return self.problem or (in_words(self.found) if self.found is not None else "not measured yet")


def changes(session: Session) -> list[Change]:
    """Return the changes into which the session's keeps are split.  Raises LabError when nothing was kept."""
    history = session.journal().history
    baseline, keeps = history.baseline, kept(history)
    if baseline is None or baseline.commit is None or not keeps:
        said = "nothing has been kept yet, so there is nothing to finalize"
        raise LabError(said, "`autoresearch-mlx run` continues the session")
    commits = [baseline.commit, *(e.commit for e in keeps if e.commit is not None)]
    read = session.workspace.read
    steps = [Step(e, read(before), read(e.commit or "")) for e, before in zip(keeps, commits, strict=False)]
    return changes_of(read(baseline.commit), steps)


def planned(session: Session) -> list[Finding]:
    """Return a finding for each change, without measuring anything.

    If a later keep has undone a change, the finding's ``problem`` says so.
    """
    baseline = _baseline_files(session)
    undone = "a later keep undid this change"
    return [
        Finding(change, _title(change, baseline), None, undone if cancelled(change, baseline) else "")
        for change in changes(session)
    ]


def finalize(session: Session, pairs: int, prefix: str, screen: Screen) -> list[Finding]:
    """Measure each change alone, make a branch for each change that is a gain on its own, and return all findings.

    ``pairs``, an even number, is the largest number of pairs of runs for one change.  A change gets no more runs when
    its gain is certified.  A branch is named ``PREFIX/01-title`` and begins at the commit where the session began.
    Raises LabError when there is nothing to finalize, when branches with this prefix exist already, or when the
    baseline cannot be measured.
    """
    workspace, journal = session.workspace, session.journal()
    findings = planned(session)
    if not journal.alone and (there := workspace.branches(prefix)):
        raise LabError(f"these branches exist already: {', '.join(there)}", "choose another --prefix")
    sigma = noise_of(journal.history)[1].value
    if pairs == 2 and sigma is None:
        said = "nothing has been measured twice yet, so the error of a gain is unknown after two pairs"
        raise LabError(said, "make four pairs: `autoresearch-mlx finalize --pairs 4`")
    tell_of_machine(session, screen)
    commits = {f.change.numbers: _commit_to_measure(session, f) for f in findings if not f.problem}
    bench = _Bench(session, screen, pairs, commits)
    for first in range(0, pairs, 2):
        findings = [bench.judged(f, first) for f in findings]
        pending = [f.change.numbers for f in findings if _is_open(f)]
        if not pending:
            break
        bench.take(first, pending)
    findings = [_settled(bench.judged(f, pairs)) for f in findings]
    findings = [_with_branch(session, f, at, prefix) for at, f in enumerate(findings, start=1)]
    told = [record(f) for f in findings]
    session.append("finalized", time=now(), start=session.start, split=fresh_split(session), changes=told)
    return findings


def _is_open(f: Finding) -> bool:
    return not f.problem and (f.found is None or not f.found.certified)


def _settled(f: Finding) -> Finding:
    if f.problem or f.found is None or f.found.certified:
        return f
    return replace(f, problem=f"not shown to gain alone: {in_words(f.found)}")


@dataclass(frozen=True, slots=True)
class _Bench:
    """Makes and reads the runs of changes and of the baseline."""

    session: Session
    screen: Screen
    pairs: int
    commits: dict[tuple[int, ...], str]
    """Numbers of the experiments of a change -> the commit that is measured for this change."""

    def take(self, first: int, pending: Sequence[tuple[int, ...]]) -> None:
        """Make the missing runs of two pairs: the baseline and each change, and then all of these in reverse order.

        In this order, a linear drift of the machine cancels out of each change's effect (``judge/certificate.py``).
        """
        row = [_BASELINE, *pending]
        for pair, order in ((first, row), (first + 1, row[::-1])):
            for numbers in order:
                if not any(pair == at for at, _ in self._runs(numbers)) and self._failure(numbers) is None:
                    self._take(numbers, pair)

    def judged(self, f: Finding, pairs: int) -> Finding:
        """Return the finding with the result of the first ``pairs`` pairs."""
        if f.problem or not pairs:
            return f
        if (failure := self._failure(f.change.numbers)) is not None:
            return replace(f, problem=f"does not run alone: {failure}")
        before, head = (self._as_runs(numbers, pairs) for numbers in (_BASELINE, f.change.numbers))
        history = self.session.journal().history
        slope, sigma = noise_of(history, self._others(f.change.numbers, pairs))
        try:
            return replace(f, found=certificate(before, head, history.direction, sigma, slope=slope))
        except ValueError:  # after one block the noise may still be unknown; the next block will show it
            return f

    def _others(self, numbers: tuple[int, ...], pairs: int) -> Iterator[tuple[str, Run]]:
        """Yield (name, run) for all other changes; these runs show how much the runs of one version differ."""
        for other in self.commits:
            if other != numbers:
                yield from ((_listed(other), run) for run in self._as_runs(other, pairs))

    def _take(self, numbers: tuple[int, ...], pair: int) -> None:
        """Make and log one run of a change or of the baseline.

        Raises LabError when a run of the baseline has no value, or when every try was disturbed.
        """
        session = self.session
        history = session.journal().history
        assert history.baseline is not None and history.baseline.commit is not None
        commit = self.commits.get(numbers, history.baseline.commit)
        number = numbers[0] if numbers else 0
        what = f"{_listed(numbers)} alone" if numbers else "the baseline"

        def one(tried: Sequence[Measurement]) -> Measurement:
            self.screen.started(number, f"finalize, pair {pair + 1} of {self.pairs}: {what}", None, None)
            order = Order(session.seed + _SEEDS + pair, split=fresh_split(session), earlier=tuple(tried))
            m = measure(session, session.worker, commit, number, pair + 1, self.screen.progress, order, "alone-")
            session.append("alone", numbers=list(numbers), pair=pair, measurement=measurement_to(m))
            return m

        m = undisturbed(one, what, self.screen.say, "finalize")
        if m.value is None and not numbers:
            hint = "correct the fault; then `autoresearch-mlx finalize` continues with this run"
            raise LabError(f"a run of the baseline ended as {m.failure}: {m.reason}", hint)

    def _runs(self, numbers: tuple[int, ...]) -> Iterator[tuple[int, Measurement]]:
        """Yield (pair, run) for the runs that count: undisturbed runs that were made under the current conditions."""
        mark = self.session.key.on(fresh_split(self.session)).mark
        for event in self.session.journal().alone:
            m = measurement_from(event["measurement"])
            failed = m.value is None and not numbers
            if tuple(event["numbers"]) == numbers and not m.tainted and not failed and m.key in (None, mark):
                yield event["pair"], m

    def _failure(self, numbers: tuple[int, ...]) -> str | None:
        """Return why a run of the change failed, or None if each of its runs has a value."""
        failed = (m for _, m in self._runs(numbers) if m.value is None)
        return next((f"{m.failure}: {m.reason}" for m in failed), None)

    def _as_runs(self, numbers: tuple[int, ...], pairs: int) -> list[Run]:
        found = dict(self._runs(numbers))
        return [
            Run(m.value, m.seed, pair=pair, log_work=log_work(m))
            for pair, m in found.items()
            if pair < pairs and m.value is not None
        ]


def _commit_to_measure(session: Session, f: Finding) -> str:
    history = session.journal().history
    assert history.baseline is not None and history.baseline.commit is not None
    before = session.workspace.read(history.baseline.commit)
    return session.workspace.make(history.baseline.commit, _edited(f.change.files, before), f.title)


def _with_branch(session: Session, f: Finding, at: int, prefix: str) -> Finding:
    """Make a branch if the change is a gain on its own; return the finding, which then names the branch."""
    if f.problem or f.found is None:
        return f
    start = session.workspace.read(session.start)
    alone = apply(start, f.change.steps)
    f = replace(f, branch=f"{prefix}/{at:02d}-{_slug(f.title)}", with_preset=alone is None)
    edited = _edited(f.change.files if alone is None else alone, start)
    commit = session.workspace.make(session.start, edited, _message(session, f), identity=True)
    assert f.branch is not None
    return replace(f, commit=session.workspace.add_branch(f.branch, commit))


def _message(session: Session, f: Finding) -> str:
    rows = " and hidden data" if fresh_split(session) == "hidden" else ""
    lines = [
        f.title,
        "",
        f"{session.target.metric} {f.in_words()}",
        "",
        f"Measured alone, in alternating runs with the unedited version, on fresh seeds{rows}.",
        f"Session {session.tag}, {_listed(f.change.numbers)}; {session.hardware}.",
    ]
    if f.with_preset:
        lines.append("The commit has this machine's knob values too, because the change needs them to apply.")
    return "\n".join(lines) + "\n"


def _title(change: Change, baseline: Files) -> str:
    """Return a title for a change.

    The title of a change with one keep is the keep's title.  For several keeps that change only knobs, the title lists
    the changes of knobs.  Otherwise the title of the last keep is used.
    """
    last = terms.cut(title_outside(change.steps[-1].experiment.title), _TITLE)
    if len(change.steps) == 1:
        return last
    edited = _edited(change.files, baseline)
    if edited and all(path in baseline and only_knobs_differ(baseline[path], text) for path, text in edited.items()):
        return "; ".join(describe(changed_knobs(baseline[path], text)) for path, text in edited.items())
    return f"{last} (with {terms.plural(len(change.steps) - 1, 'earlier keep')})"


def title_outside(title: str) -> str:
    """Return an experiment's title for readers outside the lab: one printable line, without numbers such as ``#7``.

    Outside the lab, ``#7`` would mean an issue or a pull request.
    """
    own = terms.one_line(title).partition(CARRIED)[0]
    return re.sub(r"#(?=\d)", "experiment ", own)


def _listed(numbers: Sequence[int]) -> str:
    return f"experiment{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _slug(title: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    return words[:_SLUG].strip("-") or "change"


def _edited(files: Files, before: Files) -> dict[str, str]:
    return {path: text for path, text in files.items() if before.get(path) != text}


def _baseline_files(session: Session) -> Files:
    baseline = session.journal().history.baseline
    return {} if baseline is None or baseline.commit is None else session.workspace.read(baseline.commit)


def record(f: Finding) -> dict[str, Any]:
    """Return a finding as JSON."""
    return {
        "experiments": list(f.change.numbers),
        "title": f.title,
        "branch": f.branch,
        "commit": f.commit,
        "words": f.in_words(),
        "held": f.branch is not None,
        "effect": None if f.found is None else asdict(f.found),
    }
