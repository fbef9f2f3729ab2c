"""Limit the data that an edit may write into a file: strings, numbers and comments.

Such data could contain validation rows or trained weights, which would improve the score without any training.  Only
bytes that are new, compared with the version before the edit, are counted.
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
"""Smallest length of a text without blanks whose entropy is checked; a hexadecimal hash has 64 characters."""
_RUN_BITS = 3.2
"""Highest allowed entropy of a long text without blanks, in bits per character.  Random hexadecimal text has 4; a
repeated character has 0."""
_DIGITS = 40
"""Maximum number of digits of a number.  Integers of more than 64 bits are counted in hexadecimal digits, of which 128
bits have 32."""
_NUMBERS = 64
"""Maximum number of numbers in one statement."""
_STRANGE = 32
"""Maximum number of characters in one literal that cannot be typed on an English keyboard."""
_PROSE = 512
"""If an edit adds more bytes of comments than this, the comments must look like words."""
_PROSE_PACKED, _PROSE_DIGITS = 0.70, 0.25
"""Two limits on added comments: the largest ratio of their compressed size to their size, and the largest share of
digits in them.

English text has a ratio of at most 0.6 and few digits.  Base64 has a ratio of 0.77, and hexadecimal text has five
digits in eight characters.
"""
_NAMES_FREE = 4096
"""Number of bytes of new names that are not counted, because a large honest edit may need them."""
_DATA_SHARE = 3
"""An edit's strings and numbers may take one third of the bytes that the edit may add."""
_ADDRESS = re.compile(r"https?://\S{1,200}")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Maximum number of bytes of literals and comments."""

    edit_bytes: int = 6144
    """Maximum that one edit may add to a file; strings and numbers may take a third of this."""
    file_bytes: int = 24_576
    """Maximum in a whole file; a file that had more before the edit must not grow."""
    statement_bytes: int = 1024
    """Maximum in a new statement."""


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
    """For each statement, by its text: its line, the bytes of its literals, and the number of its numbers."""
    packed: int
    """Compressed size of the whole file in bytes."""

    def bytes(self) -> int:
        """Return the number of bytes of all literals and comments."""
        return _size(self.texts) + _size(self.numbers) + _size(self.prose)


def added_bytes(old: str, new: str) -> int:
    """Return how many bytes an edit adds to a file after compression; data, names, comments and code count.

    This is the size of the new text after compression with the old text as a dictionary.  The edits in
    `tests/trial/test_seal_honest.py`, such as a mixture of experts, add 70 to 190 bytes.
    """
    return max(0, _packed(old, new) - _packed(old, old))


def _packed(known: str, text: str) -> int:
    dictionary = known.encode("utf-8", "surrogatepass")[-zlib.MAX_WBITS * 2048 :]
    packer = zlib.compressobj(9, zdict=dictionary)
    return len(packer.compress(text.encode("utf-8", "surrogatepass")) + packer.flush())


def too_much(path: str, old: str, new: str, bounds: Bounds) -> str | None:
    """Return a sentence with the size if an edit of a Python file adds too much data, or else None.

    For a file that does not parse, None is returned, because another check refuses this file.
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
    """Return a sentence if all added literals, or all literals of the file, exceed a bound, otherwise None.

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
    """Return what is wrong with a string (unusual or random characters), or None if nothing is wrong."""
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
    """Return a statement's line, the bytes of its literals, and the number of its numbers.

    Statements inside this statement are left out.  Returns None if the statement has no literal.
    """
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
    """Return a number as a string, in hexadecimal from 2**64 on, because ``repr`` fails for more than 4300 digits."""
    text = f"{value:x}" if isinstance(value, int) and abs(value) >= 1 << 64 else repr(value)
    return text if text[0].isdigit() else "0" + text
