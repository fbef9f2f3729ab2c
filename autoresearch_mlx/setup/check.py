"""Try a lab before a night: measure the unedited commit several times, then changed knobs, then a broken program.

The check works in a temporary copy of the commit and without a session, so nothing is written into the lab.
"""

from __future__ import annotations

import ast
import re
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, stdev

from autoresearch_mlx import terms
from autoresearch_mlx.agents.knobs.ranges import range_of
from autoresearch_mlx.errors import LabError
from autoresearch_mlx.experiment import Assignment, Measurement, Target
from autoresearch_mlx.judge.limits import Limit, mean_of
from autoresearch_mlx.judge.student_t import quantile
from autoresearch_mlx.lab.source import UNPARSABLE, parse, read_knobs, set_knobs
from autoresearch_mlx.loop.judge_of import limit_of
from autoresearch_mlx.loop.session import preset_text
from autoresearch_mlx.store.fill import fill, fillings_of
from autoresearch_mlx.store.git import common_of, git, resolve, top_of
from autoresearch_mlx.store.laid_out import entries_of
from autoresearch_mlx.store.workspace import Workspace
from autoresearch_mlx.targets.confine import confine
from autoresearch_mlx.targets.contract import Appraising, Finding, Place, Say
from autoresearch_mlx.targets.registry import kind_of
from autoresearch_mlx.trial.orphans import end_orphans

_KNOBS = 3
"""Largest number of knobs that are changed to test whether the lab's number depends on the editable file."""
_NIGHT_HOURS = 8
_SIGMAS = 3.0
_SURE = 0.995
"""Probability for the quantile of Student's t, which gives the limit of the noise.  In one of 100 cases, noise alone
causes a difference above this limit."""
_RUNS = 2
"""Number of runs of an edit.  A finding says how small a gain so many runs can show."""
_LONG = 10.0
"""Seconds.  If the first run takes longer, a message says how long the other runs will take."""
SECTION = "check"
Files = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Lab:
    """A temporary copy of a lab, and the target that measures the copy."""

    target: Target
    tree: Path
    files: Files
    runs: Path
    seed: int
    say: Say
    renew: Callable[[], None]
    """Function that resets the copy to the commit, so that a run does not find the files of an earlier run."""
    guarded: bool
    """True if the target can have a guard."""
    took: list[float] = field(default_factory=list)
    """Wall-clock seconds of each run."""

    def measure(self, name: str, files: Files, seed: int) -> Measurement:
        """Reset the copy to the commit, write ``files`` into the copy, and measure the result.

        ``name`` describes the run in a message to the user.
        """
        folder = self.runs / str(sum(1 for _ in self.runs.iterdir()))
        folder.mkdir()
        self.renew()
        for path, text in files.items():
            (self.tree / path).write_bytes(text.encode())
        self.say(f"measures {name}")
        began = time.monotonic()
        m = self.target.measure(Assignment(self.tree, folder, seed, lambda progress: None))
        self.took.append(time.monotonic() - began)
        return m

    def is_worse(self, value: float, than: Sequence[float]) -> bool:
        return value > max(than) if self.target.direction == "min" else value < min(than)


@contextmanager
def _temporary(inside: Path | None) -> Iterator[Path]:
    """Make a temporary folder.  At the end of the block, end all processes in the folder, and remove the folder."""
    with tempfile.TemporaryDirectory(prefix="autoresearch-check-", dir=inside) as temporary:
        try:
            yield Path(temporary).resolve()
        finally:
            # Processes are found by their folder, because an interrupted start leaves a process without a known id.
            end_orphans(Path(temporary))


def check(
    place: Place, runs: int, say: Say, worse: Files | None = None, inside: Path | None = None
) -> Iterator[Finding]:
    """Try the lab at ``place``, and yield each finding as soon as it is known.

    A finding with the state ``fail`` means that a night would be in vain.  ``runs`` is the number of runs of the
    unedited commit, at least 2.  ``worse`` has editable files with a change that must make the number worse; with
    ``worse``, no knobs are changed.  ``inside`` is the folder in which the copy is made, by default the system's folder
    for temporary files.  Raises LabError when the lab has no commit or no editable file; the target may raise further
    errors.
    """
    root = place.lab.root
    if top_of(root) is None:
        raise LabError(f"{root} is not in a git checkout", "`git init && git add -A && git commit` there")
    start = resolve(root, "HEAD")
    if start is None:
        raise LabError(f"the repository of {root} has no commit yet", "`git add -A && git commit` there")
    with _temporary(inside) as temporary:
        lab = _copied(place, start, temporary, say)
        taken = []
        for run in range(runs):
            m = lab.measure(f"run {run + 1} of {runs}", lab.files, lab.seed + run)
            if m.value is None:
                said = f"run {run + 1} of the unedited commit ended as {m.failure}: {m.reason}"
                hint = _not_committed(root, start, m.reason)
                hint = hint or "correct the cause first, because a night would begin with the same run"
                yield Finding(SECTION, "number", said, "fail", hint)
                return
            taken.append(m)
            if run == 0 and lab.took[0] > _LONG:
                longest = terms.clock((runs + _KNOBS) * lab.took[0])
                say(
                    f"the first run took {terms.clock(lab.took[0])}; the other runs take about {longest}, "
                    "and Ctrl-C ends them"
                )
        values = [m.value for m in taken if m.value is not None]
        yield from _number(lab, values)
        if isinstance(lab.target, Appraising):
            yield from lab.target.appraise(taken)
        limits = [limit for limit in map(limit_of, place.settings.metric) if limit is not None]
        yield from _limits(limits, taken)
        moved = yield from _feels(lab, values, worse) if worse else _follows(lab, values)
        yield from _broken(lab, taken, moved, limits)


def _copied(place: Place, start: str, temporary: Path, say: Say) -> _Lab:
    """Return a copy of the commit ``start``, with submodules and LFS files, in the folder ``temporary``.

    The knobs in the editable files get this machine's preset values.
    """
    kind, root = kind_of(place.settings, place.lab.root), place.lab.root
    place = replace(place, profile=kind.fit(place))
    workspace = Workspace(root, temporary, "check", place.settings.target.editable)
    tree = temporary / "copy"
    git(temporary, "clone", "--quiet", "--shared", "--no-checkout", str(workspace.top), str(tree))
    fillings = fillings_of(workspace.top, common_of(workspace.top), start, entries_of(workspace.top, start))

    def renew() -> None:
        git(tree, "checkout", "--quiet", "--force", "--detach", start)
        git(tree, "clean", "-ffdxq")
        fill(tree, fillings)

    renew()
    files = workspace.read(start)
    if not files:
        raise LabError(*workspace.why_none(start))
    conditions = kind.settle(place)
    target = confine(kind.build(conditions, place), place.settings.sandbox, [], place.say)
    preset = kind.preset(place.profile.knobs)
    files = {path: preset_text(text, preset, place.profile.knobs) for path, text in files.items()}
    runs = temporary / "runs"
    runs.mkdir()
    return _Lab(
        target,
        tree / workspace.prefix,
        files,
        runs,
        place.settings.seed,
        say,
        renew,
        "target.guard" in kind.fixed(conditions),
    )


def _not_committed(root: Path, start: str, reason: str) -> str:
    """Return a hint if ``reason`` names a file that is in the checkout but not in the commit ``start``.

    ``reason`` says why a run failed.  If the text names no such file, an empty string is returned.
    """
    has = entries_of(root, start)
    for word in re.findall(r"[\w./-]+", reason):
        for path in (word, f"{word.replace('.', '/')}.py"):
            if (root / path).is_file() and not any(name == path or name.endswith(f"/{path}") for name in has):
                return f"{path} is in your checkout, but not in the last commit: git add -f {path} && git commit"
    return ""


def _number(lab: _Lab, values: list[float]) -> Iterator[Finding]:
    mean, sigma = fmean(values), stdev(values)
    seconds = fmean(lab.took)
    metric, word = lab.target.metric, "lower" if lab.target.direction == "min" else "higher"
    span = f"{terms.value(min(values))} to {terms.value(max(values))}"
    yield Finding(SECTION, "number", f"{metric} {terms.value(mean)} in {len(values)} runs ({span}); {word} is better")
    hourly = 3600 / max(seconds, 1e-3)
    night = f"{_about(hourly)} runs an hour, {_about(hourly * _NIGHT_HOURS)} in {_NIGHT_HOURS} hours"
    yield Finding(SECTION, "time", f"{terms.took(seconds)} a run, so at most about {night}")
    if sigma == 0:
        enough = "" if isinstance(lab.target, Appraising) else ", so one run shows any difference"
        yield Finding(SECTION, "noise", f"none: the same number in each run{enough}")
        return
    told = _SIGMAS * sigma * (1 / _RUNS + 1 / len(values)) ** 0.5
    logarithm = lab.target.metric == terms.LOGARITHM
    scaled = not (logarithm or min(values) <= 0 <= max(values))  # a percentage of a number near zero means nothing
    share = f" ({100 * sigma / abs(mean):.2g} %)" if scaled else ""
    shown = f"{_RUNS} runs of an edit can show gains of {terms.amount(told)} or more"
    shown += f" ({terms.times_as_fast(told)})" if logarithm else ""
    said = f"{terms.amount(sigma)} from run to run{share}; {shown}"
    loud = scaled and told > abs(mean) / 2
    hint = "make the program's number steadier: more cases, a longer run, a fixed seed" if loud else ""
    yield Finding(SECTION, "noise", said, "note" if loud else "ok", hint)


def _limits(limits: Sequence[Limit], taken: Sequence[Measurement]) -> Iterator[Finding]:
    """Yield, for each limit, a finding that says whether the unedited commit is within the limit."""
    for limit in limits:
        value = mean_of(limit.name, taken)
        if (broken := limit.broken_by(value, value)) is not None:
            hint = "correct the limit, or the program that prints the figure, because a night would refuse every edit"
            yield Finding(SECTION, "limit", broken, "fail", hint)
        else:
            yield Finding(SECTION, "limit", f"{limit.name} {terms.value(value)}; {limit.in_words()}")


def _about(number: float) -> str:
    """Return a number as text, rounded to a whole number with two significant digits."""
    return terms.count(int(float(f"{number:.2g}")))


def _follows(lab: _Lab, values: list[float]) -> Generator[Finding, None, bool | None]:
    """Change some knobs, one at a time, until the lab's number changes; yield a finding about the result.

    Returns True if a knob changed the number, False if no knob did, and None if there are no knobs.
    """
    moves = list(_moves(lab.files))[:_KNOBS]
    noise = quantile(_SURE, len(values) - 1) * stdev(values) * (1 + 1 / len(values)) ** 0.5
    for name, path, other, text in moves:
        m = lab.measure(f"{name} = {other}", {**lab.files, path: text}, lab.seed)
        if m.value is None or abs(m.value - fmean(values)) > noise:
            what = f"{m.failure}" if m.value is None else f"{lab.target.metric} {terms.value(m.value)}"
            yield Finding(SECTION, "follows", f"{name} = {other} gives {what}, so the number depends on {path}")
            return True
    if not moves:
        return None
    tried = ", ".join(f"{name} = {other}" for name, _, other, _ in moves)
    hint = "let the program use the editable file, or name the right file in `editable`"
    if noise:
        hint = "these knobs may have little effect; if the program does not use the file, correct `editable`"
        yield Finding(SECTION, "follows", f"with {tried} the number changes by no more than the noise", "note", hint)
    else:
        yield Finding(SECTION, "follows", f"the number stays {terms.value(values[0])} with {tried}", "fail", hint)
    return False


def _feels(lab: _Lab, values: list[float], worse: Files) -> Generator[Finding, None, bool | None]:
    """Measure ``worse``, a change that must make the number worse; yield a finding about the result.

    Returns True if the number became worse, False if it did not, and None if the change could not be measured.
    """
    m = lab.measure("a change that must make the number worse", {**lab.files, **worse}, lab.seed)
    paths, span = ", ".join(worse), max(values) - min(values)
    if m.value is None:
        said = f"a change of {paths} that must make the number worse ended as {m.failure}: {terms.one_line(m.reason)}"
        yield Finding(SECTION, "follows", said, "note", "it is not known whether the number depends on the file")
        return None
    got = f"a change of {paths} that must make the number worse gives {lab.target.metric} {terms.value(m.value)}"
    if lab.is_worse(m.value - span if lab.target.direction == "min" else m.value + span, values):
        yield Finding(SECTION, "follows", f"{got}, so the number depends on the file")
        return True
    hint = "let the program use the editable file, or name the right file in `editable`"
    yield Finding(SECTION, "follows", f"{got}, which is not worse by more than the noise", "fail", hint)
    return False


def _moves(files: Files) -> Iterator[tuple[str, str, object, str]]:
    """Yield (knob, path, new value, text of the file with the new value) for each knob that has a range."""
    for path, text in files.items():
        for name, knob in read_knobs(text).items() if path.endswith(".py") else ():
            found = range_of(knob)
            if found is None:
                continue
            # The low end comes first, because a model at the high end may be too large to finish.
            ends = found.choices or tuple(type(knob.value)(end) for end in (found.low, found.high))
            others = [end for end in ends if end != knob.value]
            if others:
                yield name, path, others[0], set_knobs(text, {name: others[0]})


def _broken(lab: _Lab, taken: Sequence[Measurement], moved: bool | None, limits: Sequence[Limit]) -> Iterator[Finding]:
    """Break the program on purpose, measure it, and yield a finding that says whether a night would keep such an edit.

    ``moved`` is False if changed knobs did not change the number.
    """
    values = [m.value for m in taken if m.value is not None]
    what, files = broken(lab.files)
    m = lab.measure(f"the lab {what}", files, lab.seed)
    if m.value is None:
        yield Finding(SECTION, "broken", f"{what}: {m.failure}, {terms.one_line(m.reason)}; such an edit is not kept")
        yield from _ends_at_once(lab, taken, limits)
        return
    got = f"{what}: still {lab.target.metric} {terms.value(m.value)}"
    if lab.is_worse(m.value, values):
        yield Finding(SECTION, "broken", f"{got}, which is worse; such an edit is not kept")
        return
    for limit in limits:
        if (said := limit.broken_by(mean_of(limit.name, [m]), mean_of(limit.name, taken))) is not None:
            yield Finding(SECTION, "broken", f"{got}, but {said}; such an edit is not kept")
            return
    if lab.guarded:
        guard = (
            'add guard = "..." to [target], or a block [[check]] with name and run: a command that fails when the '
            "program's results are wrong"
        )
    else:
        guard = "let the target check the results, and return a measurement without a value when they are wrong"
    if moved is False and m.value in values:
        guard = "the program does not use the editable file: correct `editable` or `run`"
    yield Finding(SECTION, "broken", f"{got}, so a night would keep an edit that breaks the program", "fail", guard)


def _ends_at_once(lab: _Lab, taken: Sequence[Measurement], limits: Sequence[Limit]) -> Iterator[Finding]:
    """Measure a Python program that ends its own process with exit code 0; yield a finding if a night would keep it.

    Many test runners understand exit code 0 as "nothing has failed".
    """
    ended = {path: _ENDS for path in lab.files if path.endswith(".py")}
    if not lab.guarded or not ended:
        return
    what = "with a program that ends its process at once, with exit code 0"
    m = lab.measure(f"the lab {what}", {**lab.files, **ended}, lab.seed)
    values = [m.value for m in taken if m.value is not None]
    if m.value is None or lab.is_worse(m.value, values):
        return
    if any(limit.broken_by(mean_of(limit.name, [m]), mean_of(limit.name, taken)) is not None for limit in limits):
        return
    got = f"{what}: still {lab.target.metric} {terms.value(m.value)}, so a night would keep such an edit"
    hint = "let the guard look for what the tests print at their end, such as `9 passed`, not at the exit code alone"
    yield Finding(SECTION, "broken", got, "fail", hint)


_ENDS = "import os\n\nos._exit(0)\n"


def broken(files: Files) -> tuple[str, Files]:
    """Return a description of the damage, and the broken files.

    In Python files all functions return at once.  If no Python file has a function, all files are empty.
    """
    found = {path: text for path, text in files.items() if path.endswith(".py")}
    emptied = {path: _without_bodies(text) for path, text in found.items()}
    changed = {path: text for path, text in emptied.items() if text is not None}
    if changed:
        return "with functions that do nothing", {**files, **changed}
    return "with empty files", dict.fromkeys(files, "")


def _without_bodies(text: str) -> str | None:
    """Return the Python text with ``return None`` as the body of each function; None if the text has no function."""
    try:
        tree = parse(text)
    except UNPARSABLE:
        return None
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    if not functions:
        return None
    for each in functions:
        each.body = [ast.Return(ast.Constant(None))]
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"
