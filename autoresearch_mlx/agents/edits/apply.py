"""Apply the code and the knobs of one proposal to the files, and return new texts or a problem for its author.

Code is applied to the original texts first, then the knobs.  A knob that the code has changed keeps the code's value.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autoresearch_mlx.agents.edits import knob_values, whole
from autoresearch_mlx.agents.edits.blocks import apply_blocks, find
from autoresearch_mlx.agents.edits.fences import Aim, Fence, aim_of_block, code_fences, first_comment, is_diff
from autoresearch_mlx.agents.edits.gate import missing_modules, missing_names, parse, survey
from autoresearch_mlx.agents.edits.marks import Block
from autoresearch_mlx.agents.edits.reply_parts import Original, Page, Part
from autoresearch_mlx.lab.source import read_knobs, set_knobs

HOW_TO_SEND = (
    "Send code as <<<<<<< SEARCH / ======= / >>>>>>> REPLACE blocks, or as the whole file in one ```python fence, "
    "with the file's path on the line before."
)

_STATEMENT = re.compile(r"^(?:@|(?:def|class|import|from|if|for|with|try|async)\b)", re.MULTILINE)
"""Pattern of a statement.  Most whole files match it, so they need not be parsed a second time."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of applying a proposal's code.  ``texts`` has the text of every touched file, with line feeds only."""

    texts: Mapping[str, str] = field(default_factory=dict)
    knobs: Mapping[str, Any] = field(default_factory=dict)
    """New values of constants, if the reply's code consists of constants only."""
    problem: str = ""
    mismatch: bool = False
    has_code: bool = False
    beyond: knob_values.Beyond = frozenset()
    """The refused values: each lies outside the range in its knob's comment."""


def changed(
    part: Part,
    page: Page,
    originals: Mapping[str, Original],
    knobs: Mapping[str, Any],
    insisted: knob_values.Beyond = frozenset(),
) -> tuple[dict[str, str], Outcome]:
    """Return the complete new text of every changed file, and the outcome of the code without the knobs.

    ``insisted`` has values outside a knob's range that were refused before.  They are accepted now.
    """
    outcome = _code(part, page, originals, beside_knobs=bool(knobs))
    if outcome.problem:
        return {}, outcome
    texts = dict(outcome.texts)
    for name_it, wanted in (("the code", outcome.knobs), ('"knobs"', knobs)):
        problem, beyond = _tune(texts, originals, wanted, insisted)
        if problem:
            return {}, Outcome(problem=f"{name_it}: {problem}", has_code=outcome.has_code, beyond=beyond)
    problem, beyond = _beyond(texts, originals, insisted)
    if problem:
        return {}, Outcome(problem=problem, has_code=outcome.has_code, beyond=beyond)
    new = {path: originals[path].restored(text) for path, text in texts.items()}
    return {path: text for path, text in new.items() if text != originals[path].raw}, outcome


# --- code


def _code(part: Part, page: Page, originals: Mapping[str, Original], beside_knobs: bool) -> Outcome:
    broken = next((block for block in part.blocks if block.problem), None)
    if broken is not None:
        said = f"{broken.where} {broken.problem}. {HOW_TO_SEND}"
        return Outcome(problem=said, mismatch=True, has_code=True)
    fences = code_fences(part.fences, part.blocks, page.lines, list(originals))
    if beside_knobs:
        fences = [(fence, aim) for fence, aim in fences if aim.said or not _illustrates(fence, originals)]
    if not part.blocks and not fences:
        if any(map(is_diff, part.fences)):
            return Outcome(problem=f"A unified diff is not read. {HOW_TO_SEND}", mismatch=True, has_code=True)
        return Outcome()
    blocks, wholes, problem = _sorted_out(part, page, fences, originals)
    if problem:
        return Outcome(problem=problem, has_code=True)
    return _texts(blocks, wholes, originals)


def _illustrates(fence: Fence, originals: Mapping[str, Original]) -> bool:
    """Return whether a fence without a path is only an illustration: it has no statements and no constants."""
    text = "\n".join(fence.lines)
    constants = (_constants(text, original) for original in originals.values())
    return not _STATEMENT.search(text) and all(c is None for c in constants)


def _sorted_out(
    part: Part, page: Page, fences: list[tuple[Fence, Aim]], originals: Mapping[str, Original]
) -> tuple[dict[str, list[Block]], dict[str, Fence], str]:
    """Return the blocks and the fences by file, and a problem.

    A file that is unknown, not editable, or given twice is a problem.
    """
    blocks: dict[str, list[Block]] = {}
    wholes: dict[str, Fence] = {}
    for block in part.blocks:
        aim = aim_of_block(block, part.fences, page.lines, list(originals))
        path = aim.path or _only_fit(block, originals)
        if path is None or path not in originals:
            return {}, {}, _not_editable(path, block.where, originals)
        blocks.setdefault(path, []).append(block)
    for fence, aim in fences:
        path, where = aim.path, f"the fence at line {fence.start + 1} of the reply"
        if path is None or path not in originals:
            return {}, {}, _not_editable(path, where, originals)
        if path in blocks:
            return {}, {}, f"{path} comes both as blocks and whole, in {where}; send one of them"
        if path in wholes and wholes[path].lines != fence.lines:
            return {}, {}, f"{path} comes twice as a whole file, again in {where}; send one fence. {HOW_TO_SEND}"
        wholes[path] = fence
    return blocks, wholes, ""


def _only_fit(block: Block, originals: Mapping[str, Original]) -> str | None:
    fitting = [path for path, original in originals.items() if not isinstance(find(original, block), str)]
    return fitting[0] if len(fitting) == 1 else None


def _not_editable(path: str | None, where: str, originals: Mapping[str, Original]) -> str:
    editable = f"The editable {'file is' if len(originals) == 1 else 'files are'} {', '.join(originals)}."
    if path is None:
        return f"{where} does not say which file it is for; write the path on the line before it. {editable}"
    return f"{where} is for {path[:200]}, which cannot be changed or made. {editable}"


def _texts(
    blocks: Mapping[str, list[Block]], wholes: Mapping[str, Fence], originals: Mapping[str, Original]
) -> Outcome:
    texts: dict[str, str] = {}
    knobs: dict[str, Any] = {}
    for path, its_blocks in blocks.items():
        texts[path], misfit = apply_blocks(originals[path], its_blocks)
        if misfit:
            return Outcome(problem=misfit, mismatch=True, has_code=True)
    for path, fence in wholes.items():
        text = _whole_text(fence, originals[path])
        constants = _constants(text, originals[path])
        if constants is None:
            texts[path] = text
        else:
            knobs.update({f"{path}:{name}": value for name, value in constants.items()})
    for path, text in texts.items():
        if text != originals[path].text and (problem := refuse(text, originals[path], originals, path in wholes)):
            return Outcome(problem=problem, has_code=True)
    return Outcome(texts, knobs, has_code=True)


def _whole_text(fence: Fence, original: Original) -> str:
    lines = list(fence.lines)
    if first_comment(fence) is not None and lines[0] not in original.lines[:1]:
        lines = lines[1:]
    text = "\n".join(lines).rstrip() + "\n"
    # Some models indent the whole file, as if it were an item of a list.
    return textwrap.dedent(text) if original.is_python and text.startswith((" ", "\t")) else text


def _constants(text: str, original: Original) -> dict[str, Any] | None:
    if original.tree is None or _STATEMENT.search(text):
        return None
    tree = parse(text)
    return None if isinstance(tree, str) else whole.only_constants(text, tree, original.text)


def refuse(text: str, original: Original, originals: Mapping[str, Original], is_whole: bool) -> str | None:
    """Return why a file's new text must not be measured; None if no reason can be seen without a run."""
    path = original.path
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"{path} would contain an invalid character ({text[error.start]!r})"
    if not text.strip() and original.text.strip():
        return f"{path} would be empty. {HOW_TO_SEND}"
    if left_out := whole.code_left_out(text, original.text):
        return f"{path}: {left_out}. Write all of it, or use SEARCH/REPLACE blocks for the parts that change."
    if "\0" in text:
        return f"{path} would contain a NUL character"
    return _refuse_python(text, original, originals, is_whole) if original.is_python else None


def _refuse_python(text: str, original: Original, originals: Mapping[str, Original], is_whole: bool) -> str | None:
    tree = parse(text)
    if isinstance(tree, str):
        return f"{original.path} {tree}"
    if is_whole and original.tree is not None and (part := whole.only_an_excerpt(tree, original.tree)):
        return f"{original.path} must be sent whole, but {part}. Send all of it, or SEARCH/REPLACE blocks."
    if left_out := whole.body_left_out(tree, original.tree):
        return f"{original.path}: {left_out}. Write it out, or use SEARCH/REPLACE blocks for the parts that change."
    beside = {path.rpartition("/")[2].removesuffix(".py") for path in originals}
    names = survey(tree)
    said = missing_names(names, original.survey) or missing_modules(names, original.survey, beside)
    return f"{original.path} {said}" if said else None


# --- knobs


def _beyond(
    texts: Mapping[str, str], originals: Mapping[str, Original], insisted: knob_values.Beyond
) -> tuple[str, knob_values.Beyond]:
    """Find knobs that the code sets to a value outside their range.

    Return the problem as text (empty if there is none), and these knobs with their values.  A knob is left out if the
    code also changes its range comment.
    """
    found: dict[tuple[str, str], str] = {}
    for path, text in texts.items():
        had, has = originals[path].knobs, read_knobs(text)
        for name, knob in has.items():
            was = had.get(name)
            if was is None or (was.kind, was.words) != (knob.kind, knob.words):
                continue
            if (said := knob_values.out_of_range(was, knob.value)) and (name, repr(knob.value)) not in insisted:
                found[name, repr(knob.value)] = said
    return "; ".join([*found.values()][:5]), frozenset(found)


def _tune(
    texts: dict[str, str], originals: Mapping[str, Original], knobs: Mapping[str, Any], insisted: knob_values.Beyond
) -> tuple[str, knob_values.Beyond]:
    """Set knobs in the texts.

    Return the problem (empty if all values fit), and the knobs whose values are out of range.
    """
    if not knobs:
        return "", frozenset()
    now = {path: read_knobs(texts[path]) if path in texts else original.knobs for path, original in originals.items()}
    known = {path: {**originals[path].knobs, **now[path]} for path in originals}
    wanted: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    beyond: set[tuple[str, str]] = set()
    for name, value in knobs.items():
        try:
            path, bare = knob_values.place(name, known)
            fitting = knob_values.fit(known[path][bare], value)
        except knob_values.Unfit as error:
            problems.append(str(error))
            continue
        if (said := knob_values.out_of_range(known[path][bare], fitting)) and (bare, repr(fitting)) not in insisted:
            beyond.add((bare, repr(fitting)))
            problems.append(said)
            continue
        before, after = originals[path].knobs.get(bare), now[path].get(bare)
        if before is not None and after is not None and before.value == after.value:
            wanted.setdefault(path, {})[bare] = fitting
    if problems:
        return "; ".join(problems[:5]), frozenset(beyond)
    for path, its in wanted.items():
        texts[path] = set_knobs(texts.get(path, originals[path].text), its)
    return "", frozenset()
