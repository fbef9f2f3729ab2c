"""Whatever a reply contains, no error is raised, only the editable files change, and reading it takes little time."""

from __future__ import annotations

import ast
import json
import random
import time
from collections.abc import Callable, Mapping

import pytest
from edit_cases import ACTIVATION, FILES, GENTLER, PATH, SMALL, block, fenced, fields

from autoresearch_mlx.agents.edits.fields import Fields, read_fields
from autoresearch_mlx.agents.edits.reply import Edit, read_reply

pytestmark = pytest.mark.uncounted

TWO = {PATH: SMALL, "notes/optim.py": "LR = 0.1\n\n\ndef rate() -> float:\n    return LR\n"}
WHOLE = SMALL.replace(ACTIVATION, GENTLER)

GOOD = [
    fields(knobs={"MATRIX_LR": 0.05, "ADAM_BETAS": [0.9, 0.99], "TOTAL_BATCH_SIZE": "2**15"}),
    f"Why not.\n\n{fields(expected_gain=0.01)}\n\n{PATH}\n{fenced(block(ACTIVATION, GENTLER))}",
    fenced(WHOLE, f"python {PATH}"),
    f"{fenced(fields(), 'json')}\n{fenced(f'# {PATH}{chr(10)}{WHOLE}')}",
    block("MATRIX_LR = 0.04", "MATRIX_LR = 0.05").replace("SEARCH", f"SEARCH {PATH}"),
    f"## Proposal 1\n{fields(knobs={'DEPTH': 5})}\n## Proposal 2: rate\n"
    f"notes/optim.py\n{fenced(block('    return LR', '    return 2 * LR'))}",
    f"{fields(knobs={'LR': 0.2})}\n{fields(title='other')}\n{PATH}\n{block(ACTIVATION, GENTLER)}",
    fenced("MATRIX_LR = 0.05\nDEPTH = 5", f"python {PATH}"),
    fields(),
]
SHARDS = [
    *(
        "```",
        "```python\n",
        "~~~",
        "<<<<<<< SEARCH\n",
        "=======\n",
        ">>>>>>> REPLACE\n",
        "{",
        "}",
        '"',
        "[",
        "]",
        ",",
        "\\",
    ),
    *(
        "\n",
        "\r",
        "\r\n",
        "\t",
        "    ",
        "\0",
        "\x1b[2J",
        "\ud800",
        "\udfff",
        "\ufeff",
        "\u2028",
        "\x85",
        "\x0c",
        "𝕏",
        "é",
    ),
    *(
        "../train_mlx.py",
        "/etc/passwd\n",
        "path=other.py",
        "# ...",
        "...",
        "…",
        "import torch\n",
        "NaN",
        "1e999",
        "2**99",
    ),
    *('{"title": ', '"knobs": {', "## Proposal 3\n", "lambda: ", "return (", "DEPTH = 7\n", "9" * 50, "def f():\n"),
]


def spliced(text: str, chance: random.Random) -> str:
    other = chance.choice(GOOD)
    return text[: chance.randrange(len(text) + 1)] + other[chance.randrange(len(other)) :]


def cut(text: str, chance: random.Random) -> str:
    a, b = sorted(chance.randrange(len(text) + 1) for _ in range(2))
    return text[:a] + text[b:] if chance.random() < 0.5 else text[a:b]


def doubled(text: str, chance: random.Random) -> str:
    a, b = sorted(chance.randrange(len(text) + 1) for _ in range(2))
    return text[:b] + text[a:]


def swapped(text: str, chance: random.Random) -> str:
    letters = list(text)
    for _ in range(chance.randrange(1, 6) if letters else 0):
        a, b = chance.randrange(len(letters)), chance.randrange(len(letters))
        letters[a], letters[b] = letters[b], letters[a]
    return "".join(letters)


def strewn(text: str, chance: random.Random) -> str:
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(text) + 1)
        text = text[:at] + chance.choice(SHARDS) + text[at:]
    return text


def shuffled(text: str, chance: random.Random) -> str:
    lines = text.split("\n")
    a, b = chance.randrange(len(lines)), chance.randrange(len(lines))
    lines[a], lines[b] = lines[b], lines[a]
    return "\n".join(lines)


def noise(chance: random.Random) -> str:
    return "".join(
        chance.choice(SHARDS) if chance.random() < 0.5 else chr(chance.randrange(0x110000))
        for _ in range(chance.randrange(1, 60))
    )


CHANGES: list[Callable[[str, random.Random], str]] = [spliced, cut, doubled, swapped, strewn, strewn, shuffled]


def mutated(chance: random.Random) -> str:
    if chance.random() < 0.1:
        return noise(chance)
    text = chance.choice(GOOD)
    for _ in range(chance.randrange(4)):
        text = chance.choice(CHANGES)(text, chance)
    return text


def keeps_the_rules(edit: Edit, files: Mapping[str, str]) -> None:
    assert bool(edit.files) + bool(edit.problem) + edit.wants_code == 1
    assert edit.files.keys() <= files.keys()
    for path, text in edit.files.items():
        assert text != files[path]
        ast.parse(text)
        text.encode()
    assert edit.title
    assert edit.title.isprintable()
    assert len(edit.title) <= 120
    for said in (edit.title, edit.problem, edit.hypothesis, edit.axis or ""):
        said.encode()
    json.dumps([edit.expected_gain, edit.problem], allow_nan=False)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")
def test_two_thousand_random_and_mutated_replies_keep_the_rules() -> None:
    chance = random.Random(20)
    outcomes = {"files": 0, "problem": 0, "wants_code": 0}
    for _ in range(2000):
        text = mutated(chance)
        files = TWO if chance.random() < 0.7 else {PATH: SMALL}
        known = Fields(title="known") if chance.random() < 0.1 else None
        edits = read_reply(text, files, known)
        assert edits
        for edit in edits:
            keeps_the_rules(edit, files)
            outcomes["files"] += bool(edit.files)
            outcomes["problem"] += bool(edit.problem)
            outcomes["wants_code"] += edit.wants_code
    # The mutations leave many replies valid, and break many.
    assert min(outcomes.values()) > 50, outcomes


def test_the_replies_that_are_mutated_are_good_ones() -> None:
    assert all(edit.files or edit.wants_code for text in GOOD for edit in read_reply(text, TWO))


HUGE = 100_000
HOSTILE = {
    "braces": "{" * HUGE,
    "named braces": "{x" * (HUGE // 2),
    "half keys": '{"x' * (HUGE // 3),
    "half titles": '{"title"x' * (HUGE // 9),
    "loose titles": "{title " * (HUGE // 7),
    "open objects": '{"title": ' * (HUGE // 10),
    "nested objects": '{"a":' * (HUGE // 5),
    "nested arrays": '{"title": "x", "knobs": ' + "[" * HUGE,
    "arrays in a row": '{"title":[1,1,1,1,' * (HUGE // 18),
    "open strings": '{"title": "' + '\\"' * (HUGE // 2),
    "commas": '{"title": "x"' + "," * HUGE,
    "digits": '{"title": ' + "1" * HUGE + "}",
    "blanks": '{"title":' + " " * HUGE,
    "many objects": '{"title":"x"}\n' * (HUGE // 14),
    "many knobs": json.dumps({"title": "x", "knobs": {f"A{k}": k for k in range(20_000)}}),
    "fences": "```\n" * (HUGE // 4),
    "fences with info": "```python\n" * (HUGE // 10),
    "long fence": "`" * HUGE,
    "openings": "<<<<<<< SEARCH\n" * (HUGE // 15),
    "one opening": "<" * HUGE,
    "dividers": "<<<<<<< SEARCH\n" + "=======\n" * (HUGE // 8),
    "blocks": block("nowhere", "x") * (HUGE // 50),
    "different blocks": "".join(block(f"line {k}", "x") for k in range(HUGE // 60)),
    "long search": block("x = 1\n" * (HUGE // 6), "y"),
    "alike search": block("        self.c_fc = Linear(width, 4)\n" * (HUGE // 40), "y"),
    "one long line": block("x" * HUGE, "y"),
    "blank lines": "\n" * HUGE,
    "headings": "## Proposal 1\n" * (HUGE // 14),
    "comments": fenced("# ... " + "the rest " * (HUGE // 9)),
    "hashes": fenced("#" * HUGE),
    "sums": fenced("x = 1" + "+1" * (HUGE // 2)),
    "a list": fenced("x = [" + "1," * (HUGE // 2) + "]"),
    "statements": fenced("x = y\n" * (HUGE // 6)),
    "imports": fenced("".join(f"import m{k}\n" for k in range(HUGE // 14))),
    "paths": "```python " + "a/" * 200 + "\nx\n```\n",
    "words": "word " * (HUGE // 5),
    "too long": "x" * 500_000,
}


@pytest.mark.slow
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_reply_costs_seconds_at_most(text: str) -> None:
    begin = time.process_time()
    for edit in read_reply(text, FILES):
        keeps_the_rules(edit, FILES)
    read_fields(text)
    assert time.process_time() - begin < 5
