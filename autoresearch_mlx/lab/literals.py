"""Limit the data that an edit may write into a file: text, numbers and comments that could carry knowledge.

A validation row or a trained weight in the source would score without any training.  Only the bytes that an edit adds
to the version from which it starts are counted.
"""

from __future__ import annotations

import ast
import io
import math
import re
import tokenize
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from autoresearch_mlx.lab.source import MARK, UNPARSABLE

_RUN = 64
"""Length from which a piece of text without blanks is checked for its entropy; a hexadecimal hash has 64 characters."""
_RUN_BITS = 3.2
"""Highest entropy of a long piece of text without blanks, in bits per character: random hexadecimal has 4, one repeated
character has 0."""
_DIGITS = 40
"""Maximum number of digits of one number: 128 bits need 39."""
_NUMBERS = 64
"""Maximum number of numbers in one statement."""
_STRANGE = 32
"""Maximum number of characters that cannot be typed on an English keyboard, in one literal."""
_PROSE = 512
"""Number of bytes above which the comments that an edit adds must look like words."""
_PROSE_PACKED, _PROSE_DIGITS = 0.70, 0.25
"""Size of added comments after compression, as the largest allowed share of their size before, and the largest allowed
share of digits in them.

English shrinks to 0.6 of its size or less and base64 to 0.77; English has few digits, hexadecimal has five in eight.
"""
_NAMES_FREE = 4096
"""Number of bytes of new names that a large honest edit may need."""
_DATA_SHARE = 3
"""Divisor for the limit on an edit's strings and numbers: they may take a third of the bytes that the edit may add."""
_ADDRESS = re.compile(r"https?://\S{1,200}")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Maximum number of bytes of literals and comments."""

    edit_bytes: int = 6144
    """Maximum that one edit may add to a file; strings and numbers may take a third of it."""
    file_bytes: int = 24_576
    """Maximum that a whole file may hold, unless it held more before."""
    statement_bytes: int = 1024
    """Maximum that one new statement may hold."""


@dataclass(frozen=True, slots=True)
class _Found:
    """The literals of a file."""

    texts: Counter[str]
    """Strings, and bytes decoded as latin-1."""
    numbers: Counter[str]
    prose: Counter[str]
    """Comments, docstrings, and blanks at line ends."""
    names: frozenset[str]
    statements: Mapping[str, tuple[int, int, int]]
    """Line, bytes of literals and count of numbers of each statement, by the statement's text."""
    packed: int
    """Size of the whole compressed file in bytes."""

    def bytes(self) -> int:
        """Return the number of bytes of all literals and comments."""
        return _size(self.texts) + _size(self.numbers) + _size(self.prose)


def added_bytes(old: str, new: str) -> int:
    """Return how many compressed bytes an edit adds, whether as data, names, comments or code.

    This is the compressed size of the new text for a reader who has the old one.  The edits in
    `tests/trial/test_seal_honest.py`, such as a mixture of experts, add 70 to 190 bytes.
    """
    return max(0, _packed(old, new) - _packed(old, old))


def _packed(known: str, text: str) -> int:
    dictionary = known.encode("utf-8", "surrogatepass")[-zlib.MAX_WBITS * 2048 :]
    packer = zlib.compressobj(9, zdict=dictionary)
    return len(packer.compress(text.encode("utf-8", "surrogatepass")) + packer.flush())


def too_much(path: str, old: str, new: str, bounds: Bounds) -> str | None:
    """Return a sentence if an edit of a Python file carries too much data, with the size; return None if it does not.

    Also returns None for a file that does not parse, which another check refuses.
    """
    try:
        before, after = _find(old), _find(new)
    except (*UNPARSABLE, tokenize.TokenError):
        return None
    why = _why(before, after, bounds)
    if why is None:
        return None
    return f"{path} {why}; what a model knows must come from training, not from the source ([literals] in lab.toml)"


def _why(before: _Found, after: _Found, bounds: Bounds) -> str | None:
    for text, (line, size, many) in after.statements.items():
        if text in before.statements:
            continue
        if size > bounds.statement_bytes:
            return (
                f"holds {size:,} bytes of literals in one statement (line {line}), more than {bounds.statement_bytes:,}"
            )
        if many > _NUMBERS:
            return f"holds {many} numbers in one statement (line {line}), more than {_NUMBERS}"
    texts, numbers, prose = after.texts - before.texts, after.numbers - before.numbers, after.prose - before.prose
    longest = max(map(len, numbers), default=0)
    if longest > _DIGITS:
        return f"holds a number of {longest:,} digits, more than {_DIGITS}"
    for literal in (*texts, *prose):
        if (what := _dense(literal)) is not None:
            return f"holds {what}: {literal[:40]!r}..."
    return _pools(before, after, _size(texts) + _size(numbers), prose, bounds)


def _pools(before: _Found, after: _Found, data: int, prose: Counter[str], bounds: Bounds) -> str | None:
    """Return a sentence if the total of the added literals, or of the whole file, exceeds a bound; return None if
    neither does.

    ``data`` is the number of bytes of the added strings and numbers.
    """
    names = sum(len(name.encode()) for name in after.names - before.names)
    added = data + _size(prose) + max(0, names - _NAMES_FREE)
    if data > (most := bounds.edit_bytes // _DATA_SHARE):
        return f"adds {data:,} bytes of strings and numbers, more than {most:,}"
    if added > bounds.edit_bytes:
        return f"adds {added:,} bytes of literals and comments, more than {bounds.edit_bytes:,}"
    words = " ".join(_ADDRESS.sub("", text) for text in prose.elements()).encode()
    if len(words) > _PROSE:
        packed = len(zlib.compress(words, 9)) / len(words)
        digits = sum(48 <= byte < 58 for byte in words) / len(words)
        if packed > _PROSE_PACKED or digits > _PROSE_DIGITS:
            return f"adds {len(words):,} bytes of comments that are not words"
    whole = after.bytes()
    if whole > max(bounds.file_bytes, before.bytes()):
        return f"holds {whole:,} bytes of literals and comments, more than {bounds.file_bytes:,}"
    if (grown := after.packed - before.packed) > 2 * bounds.edit_bytes:
        return f"grows by {grown:,} bytes when compressed, more than {2 * bounds.edit_bytes:,}"
    return None


def _dense(literal: str) -> str | None:
    """Say what is wrong with a single string: strange characters, or a long run of random characters."""
    strange = sum(not (" " <= character <= "~" or character in "\t\n\r") for character in literal)
    strange += len(re.findall(r"\\x|\\[0-7]{2,3}|\\u|\\U|\\N", literal))
    if strange > _STRANGE:
        return f"{strange} characters that are not plain text in one literal, more than {_STRANGE}"
    for run in re.findall(rf"\S{{{_RUN},}}", _ADDRESS.sub("", literal)):
        if _bits(run) > _RUN_BITS:
            return f"{len(run):,} characters of high entropy"
    return None


def _bits(text: str) -> float:
    """Return the entropy of a string, in bits per character."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())


def _size(found: Counter[str]) -> int:
    return sum(len(text.encode()) * times for text, times in found.items())


def _find(text: str) -> _Found:
    text = text.removeprefix(MARK)
    tree = ast.parse(text)
    docstrings = {id(node.value) for node in _docstrings(tree)}
    texts: Counter[str] = Counter()
    numbers: Counter[str] = Counter()
    prose: Counter[str] = Counter()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and _counts(node.value):
            kind = prose if id(node) in docstrings else texts if isinstance(node.value, str | bytes) else numbers
            kind[_written(node.value)] += 1
    names = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            prose[token.string] += 1
        elif token.type == tokenize.NAME:
            names.add(token.string)
    blanks = "".join(line[len(line.rstrip()) :] for line in text.splitlines())
    if blanks:
        prose[blanks] += 1
    statements = {ast.dump(node): found for node in ast.walk(tree) if (found := _of_statement(node, docstrings))}
    return _Found(texts, numbers, prose, frozenset(names), statements, len(zlib.compress(text.encode(), 9)))


def _docstrings(tree: ast.Module) -> Iterator[ast.Expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield first


def _of_statement(node: ast.AST, docstrings: set[int]) -> tuple[int, int, int] | None:
    """Return a statement's line, the bytes of its literals and the number of its numbers, without the statements inside
    it; None if it has no literal."""
    if not isinstance(node, ast.stmt) or (isinstance(node, ast.Expr) and id(node.value) in docstrings):
        return None
    own = [each.value for each in _inside(node) if isinstance(each, ast.Constant) and _counts(each.value)]
    if not own:
        return None
    numbers = sum(not isinstance(value, str | bytes) for value in own)
    return node.lineno, sum(len(_written(value).encode()) for value in own), numbers


def _inside(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.stmt):
            yield child
            yield from _inside(child)


def _counts(value: object) -> bool:
    return isinstance(value, str | bytes | int | float | complex) and not isinstance(value, bool) and bool(str(value))


def _written(value: object) -> str:
    if isinstance(value, int | float | complex):
        return _number(value)
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _number(value: complex) -> str:
    """Return a number as a string.  Unlike ``repr``, this also works for integers of more than 4300 digits."""
    text = f"{value:x}" if isinstance(value, int) and abs(value) >= 1 << 64 else repr(value)
    return text if text[0].isdigit() else "0" + text
