"""Find in a sentence such as "make the parser in src/parse.py faster" the number to improve and the files to edit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, TypeAlias

from autoresearch_mlx.setup.about.tree import Tree, is_test

Number: TypeAlias = Literal["speed", "size", "test-time", "coverage", "bundle", "page", "terraform", "printed"]
MEANINGS: dict[Number, str] = {
    "speed": "seconds that the code takes",
    "size": "size of the source, in lines or tokens",
    "test-time": "seconds that the tests take",
    "coverage": "percent of the source that the tests run",
    "bundle": "gzip bytes of what the build makes",
    "page": "gzip bytes of the page's files",
    "terraform": "findings in the Terraform files",
    "printed": "a number that a program of the repository prints as METRIC name=value",
}
_SPEED = r"fast|quick|slow|speed|second|latency|throughput|perform|runtime|run time|optimi[sz]"
_SMALL = r"small|short|fewer|less|lean|shrink|reduce|simpl|light|trim|cut|weigh|size|heav|slim|load"
_TESTS = r"(?:tests?|test suite|suite)"
_PAGE = r"(?:page|site|website|html|css|landing)"
_RULES: tuple[tuple[Number, str], ...] = (
    ("coverage", r"\bcover"),
    ("bundle", rf"\bbundl|\b(?:build|dist)\b[^.]*(?:{_SMALL})|(?:{_SMALL})[^.]*\b(?:build|dist)\b"),
    ("terraform", r"terraform|checkov|tfsec|(?:failed|failing) checks|findings|misconfigur|infrastructure|\bcomplian"),
    ("test-time", rf"\b{_TESTS}\b[^.]*(?:{_SPEED}|less time)|(?:{_SPEED})\w*\s+(?:the\s+)?(?:unit\s+)?{_TESTS}\b"),
    ("page", rf"{_PAGE}\b[^.]*(?:{_SMALL}|{_SPEED})|(?:{_SMALL}|{_SPEED})[^.]*\b{_PAGE}\b"),
    ("size", rf"\blines?\b|(?:{_SMALL})\w*\b(?![^.]*(?:{_SPEED}))"),
    ("speed", _SPEED),
)
"""Patterns that show which number is meant; the first pattern that matches decides."""
_COMMON = frozenset(("make", "this", "that", "code", "file", "files", "faster", "smaller", "with", "test", "tests"))
_NEAR = 4


@dataclass(frozen=True, slots=True)
class Wish:
    """What a sentence asks for."""

    sentence: str
    number: Number | None
    """The number that should get better; None if the sentence does not say which."""
    files: tuple[str, ...]
    """Files of the repository that the sentence names; tests are left out unless the sentence has their path."""


def read_sentence(sentence: str, tree: Tree) -> Wish:
    """Return what a sentence asks for, as far as rules can tell from its words."""
    return Wish(sentence, _number(sentence, tree), _files(sentence, tree))


def mentions(sentence: str, path: str) -> bool:
    """Return True if the sentence names this path; the path of a file also names the folders that contain the file.

    The path of a folder ends with ``/``.  The word "tests" does not name the path ``test``.
    """
    ending = "" if path.endswith("/") else r"(?![\w/-])"
    return re.search(rf"(?<![\w/-])(?:\./)?{re.escape(path)}{ending}", sentence) is not None


def _number(sentence: str, tree: Tree) -> Number | None:
    lower = sentence.lower()
    for path in tree.sizes:  # a file's name such as fast_sort.py says nothing about the wish
        for name in (path.lower(), PurePosixPath(path).name.lower()) if len(path) > 3 else ():
            if name in lower:
                lower = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", " ", lower)
    return next((number for number, pattern in _RULES if re.search(pattern, lower)), None)


def _files(sentence: str, tree: Tree) -> tuple[str, ...]:
    words = re.findall(r"[\w./-]*\w", sentence)
    exact = [word.removeprefix("./") for word in words]
    found = [path for path in exact if path in tree.sizes]
    if not found:
        found = [path for word in exact if "." in word for path in tree.own if path.endswith(f"/{word}")]
    if not found:
        folders = [word.rstrip("/") for word in exact if "/" in word or any(p.startswith(f"{word}/") for p in tree.own)]
        inside = [path for path in tree.own if any(path.startswith(f"{folder}/") for folder in folders)]
        found = [path for path in inside if not is_test(path)] if len(folders) == 1 else []
    return tuple(dict.fromkeys(found or _by_name(words, tree)))


def _by_name(words: list[str], tree: Tree) -> list[str]:
    """Return the files whose names are similar to a word of the sentence.

    If there are none, return the files that define a function or class with such a word as its name.
    """
    telling = [word.lower() for word in words if len(word) >= _NEAR and word.lower() not in _COMMON]
    sources = [path for path in tree.own if not is_test(path) and PurePosixPath(path).suffix]
    near = [path for path in sources if any(_alike(PurePosixPath(path).stem.lower(), word) for word in telling)]
    if near:
        return near
    if not telling:
        return []
    defines = re.compile(rf"\b(?:def|function|class|fn|func)\s+({'|'.join(map(re.escape, telling))})\b")
    code = [path for path in sources if path.endswith((".py", ".js", ".mjs", ".ts", ".rs", ".go"))][:200]
    return [path for path in code if defines.search(tree.text(path).lower())]


def _alike(stem: str, word: str) -> bool:
    """Return whether a word and a file's name without ending are similar, like "parser" and "parse"."""
    short, long = sorted((stem, word), key=len)
    return len(short) >= _NEAR and long.startswith(short)
