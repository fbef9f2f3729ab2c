"""Build a corpus folder from streams of text: tokenizer, three files of rows, bytes of each token, manifest."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from autoresearch_mlx import __version__
from autoresearch_mlx.errors import CorpusError
from autoresearch_mlx.targets.corpus import split
from autoresearch_mlx.targets.corpus import tokenizer as bpe
from autoresearch_mlx.targets.corpus.documents import Batches, batched
from autoresearch_mlx.targets.corpus.download import Say
from autoresearch_mlx.targets.corpus.files import count, shuffle_rows, write_bytes, write_rows, writing
from autoresearch_mlx.targets.corpus.near import Known, copied
from autoresearch_mlx.targets.corpus.packing import Policy, Tokens, pack
from autoresearch_mlx.targets.corpus.rows import (
    MANIFEST,
    SCHEMA,
    SPLITS,
    TOKEN_BYTES,
    TOKENIZER,
    Manifest,
    Rows,
    Split,
    sha256_of,
    write_manifest,
)
from autoresearch_mlx.targets.corpus.sources import Fixed, Pooled, Request

EVAL_TOKENS = 40 * 524_288
"""Number of tokens that upstream's evaluation scores; by default, at most this many are held out of a large source."""
ADD_TEXT = "Add text, or ask for a shorter seq_len or fewer rows, or use `autoresearch-mlx prepare stdlib`."
SAY_SECONDS = 10.0
"""Seconds between two progress messages."""
SHUFFLE_SEED = 0
SKIPPED_NAMES = 10
PACKING: dict[Policy, str] = {
    "crop": "best fit of 1000 waiting documents; if none fits, the shortest is cut and its rest dropped (as upstream)",
    "split": "best fit of 1000 waiting documents; long ones are cut into rows, their rests kept; rows are shuffled",
}


class TooFewRows(CorpusError):
    """Raised when there is too little text to fill the rows of a split."""


class NearCopies(TooFewRows):
    """Raised when the rows can be filled only with near copies of other documents."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What every step of a build needs: the folder for the files, the request, and the function that shows progress."""

    folder: Path
    request: Request
    say: Say

    @property
    def width(self) -> int:
        """Number of tokens in a stored row: seq_len inputs and the target of the last input."""
        return self.request.seq_len + 1

    def write(self, name: Split, rows: Iterator[Rows], needed: int) -> int:
        """Write one split and return its number of rows.

        Raises CorpusError if there are fewer than ``needed`` rows.
        """
        written = write_rows(self.folder / f"{name}.npy", rows, self.width)
        if written < needed:
            raise TooFewRows(
                f"the text of {_subject(self.request)} is too small: it fills {written} of {needed} {name} rows "
                f"of {self.width - 1} tokens",
                ADD_TEXT,
            )
        return written


def build(source: Pooled | Fixed, request: Request, folder: Path, name: str, say: Say) -> None:
    """Write the whole corpus into ``folder``.  Raises CorpusError; the caller then removes the folder."""
    bench = Bench(folder, request, say)
    if isinstance(source, Pooled):
        tokenizer, detail = _pooled(source, bench)
        policy: Policy = "split"
    else:
        tokenizer, detail = _fixed(source, bench)
        policy = "crop"
    manifest = _manifest(bench, tokenizer, name, source.detail | detail, policy)
    with writing(folder / MANIFEST):
        write_manifest(folder / MANIFEST, manifest)
    for each in SPLITS:
        say(f"{each}: {manifest.rows[each]:,} rows, {manifest.bytes[each] / 1e6:,.1f} MB of text")


def _fixed(source: Fixed, bench: Bench) -> tuple[Any, dict[str, Any]]:
    """Pack the held-out rows, then the training rows; the training rows leave out every held-out document."""
    tokenizer, bos = _train(source.train(), bench, f"up to {bpe.TRAINING_CHARS / 1e6:,.0f} MB")
    seen: set[int] = set()
    known = Known()
    plenty = max(split.SMALLEST, EVAL_TOKENS // bench.request.seq_len)

    def rows(batches: Batches) -> Iterator[Rows]:
        return pack(bpe.encode(tokenizer, batches), bench.width, bos, "crop")

    for name, text, asked in _held_out(source, bench.request):
        bench.say(f"packing {name} rows")
        fresh = split.without_copies(split.without(text, seen), known)
        held = split.learned(split.noted(fresh, seen), known)
        bench.write(name, islice(rows(held), asked or plenty), asked or split.SMALLEST)
        known.settle()
    bench.say("packing train rows")
    fresh = split.without_copies(split.without(source.train(), seen), known)
    bench.write("train", rows(_told(fresh, None, bench.say)), split.SMALLEST)
    return tokenizer, {}


def _held_out(source: Fixed, request: Request) -> Iterator[tuple[Split, Batches, int | None]]:
    yield "val", source.val(), request.val_rows
    yield "hidden", source.hidden(), request.hidden_rows


def _pooled(source: Pooled, bench: Bench) -> tuple[Any, dict[str, Any]]:
    found = split.survey(source)
    if bench.request.source != "stdlib":  # the user cannot correct Python's own test files
        _tell_skipped(found.skipped, bench.say)
    if not found.bytes:
        raise CorpusError(f"{_subject(bench.request)} holds no text: every file is empty, or is not a text", ADD_TEXT)
    if source.open_text is not None:
        try:
            tokenizer, detail = _split(source, bench, found, source.open_text)
            return tokenizer, detail | {"closed": True}
        except TooFewRows as error:
            bench.say(
                f"{error} if text that training can read is left out, so this is demonstration text, "
                "which is not certified"
            )
    try:
        return _split(source, bench, found, None)
    except NearCopies as error:
        bench.say(f"{error}; near copies stay in the held-out rows")
        return _split(source, bench, found, None, drop=False)


def _split(
    source: Pooled, bench: Bench, found: split.Survey, readable: Callable[[], Batches] | None, drop: bool = True
) -> tuple[Any, dict[str, Any]]:
    """Hold out documents that are not in ``readable``, and pack the rows of all splits.  Raises TooFewRows."""
    asked: dict[Split, int | None] = {"val": bench.request.val_rows, "hidden": bench.request.hidden_rows}
    aside = split.set_aside(found, asked.values(), bench.width, readable() if readable else None)

    def training() -> Batches:
        return split.without(source.text(lambda path: None), aside)

    tokenizer, bos = _train(training(), bench, f"{found.bytes / 1e6:,.1f} MB")
    held, dropped = split.only(source.text(lambda path: None), aside), 0
    if drop:
        held, dropped = _without_copies(held, training(), bench.say)
    if not held:
        why = "each of its documents is a near copy of others" if dropped else "training can read all of it"
        raise (NearCopies if dropped else TooFewRows)(f"no text of {_subject(bench.request)} can be held out: {why}")
    documents = chain.from_iterable(bpe.encode(tokenizer, batched(held)))
    per_row = _bytes_per_row(tokenizer, held, bench.width)
    for name, rows in asked.items():
        wanted = rows or max(split.SMALLEST, int(split.SHARE * found.bytes / per_row))
        taken = split.take(documents, wanted, bench.width)
        try:
            bench.write(name, islice(pack([taken], bench.width, bos, "split"), wanted), wanted)
        except TooFewRows as error:
            if dropped:
                raise NearCopies(str(error), error.hint) from error
            raise
    bench.say(f"packing rows of {bench.request.seq_len} tokens")
    rest = bpe.encode(tokenizer, _told(training(), found.bytes, bench.say))
    bench.write("train", pack(chain([list(documents)], rest), bench.width, bos, "split"), split.SMALLEST)
    shuffle_rows(bench.folder / "train.npy", SHUFFLE_SEED)
    return tokenizer, _survey_detail(found) | {"near_copies": dropped}


def _without_copies(held: list[str], rest: Batches, say: Say) -> tuple[list[str], int]:
    """Drop near copies of other held-out documents or of parts of the training text; return the rest and the number
    dropped."""
    flags = copied(held, rest)
    kept = [text for text, near in zip(held, flags, strict=True) if not near]
    if dropped := len(held) - len(kept):
        say(f"dropped {dropped:,} of the {len(held):,} documents set aside, because they are near copies of others")
    return kept, dropped


def _train(batches: Batches, bench: Bench, size: str) -> tuple[Any, int]:
    """Train and save the tokenizer; return the tokenizer, and the id of BOS, the token that begins a document."""
    bench.say(
        f"training the tokenizer ({bench.request.vocab_size} tokens) on {size} of text, "
        f"at most {bpe.DOCUMENT_CHARS:,} characters of a document"
    )
    tokenizer = bpe.train(batches, bench.request.vocab_size)
    if (size_found := tokenizer.get_vocab_size()) < bench.request.vocab_size:
        bench.say(f"the text yields a vocabulary of {size_found} tokens, not {bench.request.vocab_size}")
    write_bytes(bench.folder / TOKENIZER, bpe.to_json(tokenizer))
    return tokenizer, bpe.bos_of(tokenizer)


def _bytes_per_row(tokenizer: Any, held: list[str], width: int) -> float:
    """Return how many bytes of text fill one row, measured on at most 200 of the held-out documents."""
    sample: list[Tokens] = list(chain.from_iterable(bpe.encode(tokenizer, batched(held[:200]))))
    tokens = sum(len(document) for document in sample)
    return width * sum(len(text.encode("utf-8")) for text in held[:200]) / max(1, tokens)


def _manifest(bench: Bench, tokenizer: Any, name: str, detail: dict[str, Any], policy: Policy) -> Manifest:
    folder, bos = bench.folder, bpe.bos_of(tokenizer)
    weights = bpe.token_bytes(tokenizer)
    with writing(folder / TOKEN_BYTES):
        np.save(folder / TOKEN_BYTES, weights, allow_pickle=False)
    arrays: dict[str, Rows] = {each: np.load(folder / f"{each}.npy", mmap_mode="r") for each in SPLITS}
    counts = {each: count(rows, weights, bos) for each, rows in arrays.items()}
    files = [TOKENIZER, TOKEN_BYTES, *(f"{each}.npy" for each in SPLITS)]
    hashes = {each: sha256_of(folder / each) for each in files}
    return Manifest(
        schema=SCHEMA,
        name=name,
        source=bench.request.source,
        source_detail=detail,
        sha256=hashes,
        tokenizer_sha256=hashes[TOKENIZER],
        vocab_size=len(weights),
        seq_len=bench.request.seq_len,
        bos=bos,
        rows={each: len(rows) for each, rows in arrays.items()},
        tokens={each: rows.size for each, rows in arrays.items()},
        bytes={each: text_bytes for each, (text_bytes, _) in counts.items()},
        documents={each: begins for each, (_, begins) in counts.items()},
        bytes_per_token=counts["train"][0] / arrays["train"].size,
        packing=PACKING[policy],
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        tools=_tools(),
    )


def _survey_detail(found: split.Survey) -> dict[str, Any]:
    return {
        "text_bytes": found.bytes,
        "text_sha256": found.sha256,
        "documents": len(found.keys),
        "skipped_files": len(found.skipped),
    }


def _tell_skipped(skipped: tuple[Path, ...], say: Say) -> None:
    if skipped:
        names = ", ".join(path.name for path in skipped[:SKIPPED_NAMES])
        more = ", ..." if len(skipped) > SKIPPED_NAMES else ""
        say(f"files left out because they are not text in their declared encoding: {len(skipped)} ({names}{more})")


def _told(batches: Batches, total: int | None, say: Say) -> Batches:
    """Yield the batches unchanged, and report progress every ten seconds."""
    spoken, done = time.monotonic(), 0
    for batch in batches:
        yield batch
        done += sum(len(text) for text in batch)
        if time.monotonic() - spoken >= SAY_SECONDS:
            spoken = time.monotonic()
            say(f"packed {done / 1e6:,.0f}" + (f" of {total / 1e6:,.0f}" if total else "") + " MB of text")


def _tools() -> dict[str, str]:
    packages = {each: version(each) for each in ("numpy", "tokenizers", "pyarrow", "huggingface-hub")}
    return {"python": platform.python_version(), "autoresearch-mlx": __version__, **packages}


def _subject(request: Request) -> str:
    return str(request.path) if request.path else request.source
