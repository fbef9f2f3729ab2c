"""Train and use a byte-level BPE with the split pattern and the special tokens of karpathy/autoresearch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from autoresearch_mlx.errors import CorpusError
from autoresearch_mlx.targets.corpus.packing import Tokens

SPLIT_PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}"
    r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)
"""GPT-4's split pattern with digits in groups of one or two, which suits a small vocabulary."""
SPECIAL_TOKENS = tuple(f"<|reserved_{i}|>" for i in range(4))
BOS = SPECIAL_TOKENS[0]
DOCUMENT_CHARS = 10_000
"""Largest number of characters of one document that train the tokenizer, as in upstream."""
TRAINING_CHARS = 1_000_000_000
"""Number of characters, over all documents, after which the training of the tokenizer stops, as in upstream."""


def train(batches: Iterable[list[str]], vocab_size: int) -> Tokenizer:
    """Train a tokenizer of at most ``vocab_size`` tokens; the four special tokens have the last ids, as in upstream."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(SPLIT_PATTERN), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[],
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sample(batches), trainer)
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    return _plain(tokenizer)


def load(path: Path) -> Tokenizer:
    """Read ``tokenizer.json``.  Raises CorpusError."""
    try:
        return _plain(Tokenizer.from_str(path.read_text(encoding="utf-8")))
    except Exception as error:  # the library's Rust code raises plain Exception
        raise CorpusError(
            f"cannot read {path}: {error}", "Delete the folder of the corpus and prepare it again."
        ) from error


def bos_of(tokenizer: Tokenizer) -> int:
    """Return the id of the token that begins a document."""
    return int(tokenizer.get_vocab()[BOS])


def to_json(tokenizer: Tokenizer) -> bytes:
    """Return the tokenizer as JSON in the format of its library."""
    return str(tokenizer.to_str(pretty=True)).encode("utf-8")


def encode(tokenizer: Tokenizer, batches: Iterable[list[str]]) -> Iterator[list[Tokens]]:
    """Yield the token ids of each document, uint16 ``[n]``, without BOS.

    Text that looks like a special token is encoded as plain text.
    """
    for batch in batches:
        encoded = tokenizer.encode_batch_fast(batch, add_special_tokens=False)
        yield [np.array(document.ids, dtype=np.uint16) for document in encoded]


def token_bytes(tokenizer: Tokenizer) -> npt.NDArray[np.int32]:
    """Return each token's number of bytes of text, int32 ``[vocab_size]``, 0 for special tokens.

    The tokenizer writes a token with one letter for each byte.  So the number of letters is the number of bytes, even
    for an incomplete piece of UTF-8.
    """
    weights = np.zeros(tokenizer.get_vocab_size(), dtype=np.int32)
    for token, index in tokenizer.get_vocab().items():
        weights[index] = 0 if token in SPECIAL_TOKENS else len(token)
    return weights


def _plain(tokenizer: Tokenizer) -> Tokenizer:
    """Make the tokenizer treat special tokens in a text as plain text; ``tokenizer.json`` does not keep this
    setting."""
    tokenizer.encode_special_tokens = True
    return tokenizer


def _sample(batches: Iterable[list[str]]) -> Iterator[str]:
    chars = 0
    for batch in batches:
        for text in batch:
            yield text[:DOCUMENT_CHARS]
            chars += min(len(text), DOCUMENT_CHARS)
            if chars >= TRAINING_CHARS:
                return
