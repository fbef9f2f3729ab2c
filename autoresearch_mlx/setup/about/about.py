"""Find a lab for a sentence: read the repository, propose a lab and prove it.  This module writes no file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoresearch_mlx import terms
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.errors import LabError
from autoresearch_mlx.hardware.machine import read_machine
from autoresearch_mlx.lab.lab import SETTINGS
from autoresearch_mlx.setup.about.copy import copied
from autoresearch_mlx.setup.about.plan import FOLDER
from autoresearch_mlx.setup.about.prove import Proof, prove
from autoresearch_mlx.setup.about.rules import editable_for, plans, possible, too_many
from autoresearch_mlx.setup.about.sentence import MEANINGS, Number, Wish, mentions, read_sentence
from autoresearch_mlx.setup.about.suggestion import Suggestion, find_model, suggest
from autoresearch_mlx.setup.about.tests_of import Tried, test_lines, try_tests
from autoresearch_mlx.setup.about.tree import Tree, read_tree
from autoresearch_mlx.targets.contract import Finding, Say

_TESTED: tuple[Number, ...] = ("speed", "size", "printed", "test-time", "coverage", "bundle")
"""Numbers for which the repository's tests are run: the tests are measured, or they check each edit."""
_NEEDS_TESTS: tuple[Number, ...] = ("size", "test-time", "coverage", "bundle")
_RUNNERS = {
    **dict.fromkeys((".js", ".mjs", ".cjs", ".ts"), ("npm",)),
    **dict.fromkeys((".c", ".cc", ".cpp"), ("make",)),
    ".rs": ("cargo",),
    ".go": ("go",),
}
"""Test runners to try first, by the endings of the editable files.  For files with other endings, Python's runners
are tried first."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The sentence and the options of ``init --about``."""

    sentence: str
    number: Number | None = None
    editable: tuple[str, ...] = ()
    guard: str | None = None
    model: str | None = None
    """Name of the model to ask; None for the model that `run` would choose, the text ``none`` for no model."""
    runs: int = 5
    """Number of runs of the unedited lab in the proof."""
    test_seconds: float = 120.0
    """Longest time, in seconds, that the tests may take.  A night runs the tests again for each experiment."""


@dataclass(frozen=True, slots=True)
class Person:
    """Two functions that ask the user."""

    choose: Callable[[str, Sequence[str]], int]
    """Function that asks a question with numbered answers, and returns the index of the chosen answer."""
    line: Callable[[str], str]
    """Function that asks for a line of text, which may be empty."""


@dataclass(frozen=True, slots=True)
class Found:
    """The plan that was proved, and the plans that were tried before it."""

    proof: Proof
    failed: tuple[Proof, ...]
    by: str
    """What chose the number and the files: ``rules``, or the name of a model."""


def find_lab(
    directory: Path, wanted: Wanted, person: Person | None, say: Say, show: Callable[[Finding], None]
) -> Found:
    """Propose a lab for the sentence and prove it in a copy of the last commit.

    ``person`` is asked when the sentence leaves a choice open; if it is None, nobody is asked.  ``show`` is called with
    each finding of the proof.  Raises LabError when there is nothing to measure, or when no plan could be proved.
    """
    if not wanted.sentence.strip():
        raise LabError(
            "the sentence is empty", 'give a sentence, as in --about "make the parser in src/parse.py faster"'
        )
    refuse_existing(directory)
    tree = read_tree(directory)
    say(f"read: {tree.words()}")
    _tell_changed(tree, say)
    wish, by = _understood(wanted, tree, say)
    number = _number(wanted, wish, tree, person)
    editable = _editable(wanted, number, wish, tree, person)
    say(f"number: {MEANINGS[number]}")
    say(f"editable: {', '.join(editable)}")
    with copied(tree) as copy:
        tried = Tried(None)
        if number in _TESTED:
            ending = editable[0][editable[0].rfind(".") :]
            if wanted.guard or by.guard or next(test_lines(tree), None):
                say("runs the tests in a copy of the repository")
            tried = try_tests(tree, copy, wanted.guard or by.guard, _RUNNERS.get(ending, ()), wanted.test_seconds)
            if tried.tests is None and person is not None and (line := person.line(_ASK_GUARD.format(tried.problem()))):
                tried = try_tests(tree, copy, line, (), wanted.test_seconds)
            if tried.tests is None and not tried.failed:
                say("tests: none were found")
            if tried.tests is not None:
                say(f"tests: `{tried.tests.line}` passes in {terms.took(tried.tests.seconds)}")
            elif tried.failed or number in _NEEDS_TESTS:
                said = f"{tried.problem()}, so nothing would show that an edit breaks something"
                raise LabError(said, tried.remedy())
        failed: list[Proof] = []
        for plan in plans(number, tree, editable, tried.tests, wanted.sentence):
            say(f"tries to measure by: {plan.run}")
            proof = prove(plan, wanted.sentence, copy, wanted.runs, say, show)
            if proof.holds:
                return Found(proof, tuple(failed), by.name)
            say(f"not proved: {proof.problem}")
            failed.append(proof)
    raise _nothing_proved(number, failed, tried)


_ASK_GUARD = "{}. Which command fails when a result is wrong? (empty: none)"


@dataclass(frozen=True, slots=True)
class _By:
    """What chose the number and the files (``rules`` or a model's name), and the guard that the model named."""

    name: str
    guard: str | None = None


def refuse_existing(directory: Path) -> None:
    """Raise LabError if the folder is a lab already."""
    for name in (SETTINGS, FOLDER):
        if (directory / name).exists() or (directory / name).is_symlink():
            hint = "`autoresearch-mlx check` tests the lab that is there; move that lab away to make a new lab"
            raise LabError(f"{directory / name} is there already", hint)


def _tell_changed(tree: Tree, say: Say) -> None:
    if tree.changed:
        said = terms.plural(len(tree.changed), "file") + " with changes that are not committed"
        shown = ", ".join([*tree.changed[:3], *(["..."] if len(tree.changed) > 3 else [])])
        say(f"note: {said} ({shown}); the lab is made from the last commit")


def _understood(wanted: Wanted, tree: Tree, say: Say) -> tuple[Wish, _By]:
    """Return what the sentence asks for, and who found this out: a model, or rules if no model gave a usable answer."""
    wish, numbers = read_sentence(wanted.sentence, tree), possible(tree)
    if not numbers:
        return wish, _By("rules")
    endpoint, why = find_model(wanted.model, Office(memory_bytes=read_machine().memory_bytes, say=say))
    if endpoint is None:
        say(f"chosen by rules, without a model: {why}")
        return wish, _By("rules")
    say(f"asks {endpoint.name}: {why}")
    answer = suggest(endpoint, wanted.sentence, tree, numbers)
    if isinstance(answer, Suggestion):
        say(f"{endpoint.name} chooses {answer.number} with {', '.join(answer.editable)}")
        return Wish(wanted.sentence, answer.number, answer.editable), _By(endpoint.name, answer.guard)
    say(f"chosen by rules, because {answer}")
    return wish, _By("rules")


def _number(wanted: Wanted, wish: Wish, tree: Tree, person: Person | None) -> Number:
    numbers = possible(tree)
    if not numbers:
        said = "nothing here can be measured: no program, no tests, no page, no Terraform files"
        hint = "write a program that prints METRIC name=value for what you want to improve, commit it, and init again"
        raise LabError(said, hint)
    number = wanted.number or wish.number
    if number is None and len(numbers) == 1:
        number = numbers[0]
    if number is None and person is not None:
        asked = "Which number should get better?"
        number = numbers[person.choose(asked, [f"{each}: {MEANINGS[each]}" for each in numbers])]
    if number is None:
        said = "the sentence does not say which number should get better"
        raise LabError(said, f"name the number: --number {'|'.join(numbers)}")
    if number not in numbers:
        lacks = f"{MEANINGS[number]} cannot be measured here"
        raise LabError(lacks, f"choose with --number: {'; '.join(f'{n} ({MEANINGS[n]})' for n in numbers)}")
    return number


def _editable(wanted: Wanted, number: Number, wish: Wish, tree: Tree, person: Person | None) -> tuple[str, ...]:
    for path in wanted.editable or [path for path in tree.changed if mentions(wanted.sentence, path)]:
        if path not in tree.sizes and ((tree.root / path).exists() or path in wanted.editable):
            there = (tree.root / path).is_file()
            hint = f"`git add {path} && git commit`" if there else f"give the path relative to {tree.root}"
            raise LabError(f"{path} is not in the last commit", hint)
    editable = wanted.editable or editable_for(number, tree, wish.files)
    if too_many(editable):
        if person is None:
            hint = "name the files that may be edited: --editable PATH, once for each file"
            raise LabError(f"the sentence leaves {len(editable)} files open to edits", hint)
        editable = (editable[person.choose("Which file may be edited?", editable)],)
    return tuple(editable)


def _nothing_proved(number: Number, failed: Sequence[Proof], tried: Tried) -> LabError:
    if not failed:
        without = "" if tried.tests else f"; {tried.problem()}"
        hint = "name other files with --editable, or write a program that prints METRIC name=value"
        hint = tried.remedy() if tried.tests is None else hint
        return LabError(f"there is no way here to measure the {MEANINGS[number]}{without}", hint)
    last = failed[-1]
    hints = [finding.hint for finding in last.findings if finding.state == "fail" and finding.hint]
    hint = hints[0] if hints else "correct the cause, and init again; nothing was written"
    ways = "; ".join(f"by `{proof.plan.run}`: {proof.problem}" for proof in failed)
    return LabError(f"nothing was written, because no way to measure the {MEANINGS[number]} was proved: {ways}", hint)
