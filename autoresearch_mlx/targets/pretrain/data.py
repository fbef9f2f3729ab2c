"""Choose the corpus for a new session of a lab, and find the corpus of a session that has begun."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autoresearch_mlx.errors import CorpusError
from autoresearch_mlx.hardware.profile import Profile
from autoresearch_mlx.lab.config import Settings
from autoresearch_mlx.lab.lab import CORPUS, Lab
from autoresearch_mlx.targets.contract import Say
from autoresearch_mlx.targets.corpus import prepare as corpora
from autoresearch_mlx.targets.corpus.rows import Corpus, open_corpus
from autoresearch_mlx.targets.pretrain.conditions import PretrainConditions

_SCARCE_EVAL_TOKENS = 2**19
"""Largest number of tokens to hold out of a small source."""


def recorded_corpus(conditions: PretrainConditions, cache: Path) -> Corpus:
    """Return a session's corpus from the recorded folder, or else a corpus in ``cache`` with the recorded hashes.

    Raises CorpusError if neither the folder nor ``cache`` has a corpus with these hashes.
    """
    place, wanted = Path(conditions.corpus), conditions.data_sha256
    here = open_corpus(place) if place.exists() else None
    if here is not None and here.manifest.sha256 == wanted:
        return here
    if (found := corpora.find_by_hash(wanted, cache)) is not None:
        return found
    if here is not None:
        said = f"the corpus in {place} is not the corpus with which this session began"
        raise CorpusError(said, "start another session with --tag NAME")
    source = "folder PATH" if conditions.source == "folder" else conditions.source
    again = f"prepare {source} --vocab-size {conditions.vocab_size} --seq-len {conditions.seq_len}"
    hint = f"copy the corpus into {cache / 'corpora'}, or prepare the same corpus again: `autoresearch-mlx {again}`"
    raise CorpusError(f"this machine has no corpus with the session's hashes; the corpus was in {place}", hint)


def choose_corpus(settings: Settings, lab: Lab, profile: Profile, say: Say) -> Corpus:
    """Return the corpus that a new session trains on.

    The settings may name the corpus.  Otherwise, the session trains on the corpus that was prepared last for the lab.
    If no corpus was prepared, the text of the standard library is prepared now.  Raises CorpusError.
    """
    if settings.data.source == "auto" and (last := last_corpus(lab)) is not None:
        return last
    request = corpus_request(settings, profile)
    found = corpora.find(request, corpora.default_cache())
    if found is None:
        upstream = "`autoresearch-mlx prepare climbmix` fetches the text of the H100 runs"
        say(f"no prepared data: preparing {request.source} once ({upstream})")
        found = corpora.prepare(request, corpora.default_cache(), say)
    return found


def corpus_request(settings: Settings, profile: Profile) -> corpora.Request:
    """Return the request for the corpus that the settings describe; the profile gives the sizes that the settings leave
    out."""
    data = settings.data
    source = "stdlib" if data.source == "auto" else data.source
    seq_len: int = _or(data.seq_len, profile.seq_len)
    # In a small source, every held-out row is missing from training.
    enough = _SCARCE_EVAL_TOKENS // seq_len if source in ("stdlib", "folder") else profile.eval_rows
    return corpora.Request(
        source=source,
        path=Path(data.path).expanduser() if data.path else None,
        shards=data.shards,
        vocab_size=_or(data.vocab_size, profile.vocab_size),
        seq_len=seq_len,
        val_rows=_or(data.eval_rows, min(profile.eval_rows, enough)),
    )


def last_corpus(lab: Lab) -> Corpus | None:
    """Return the corpus that `prepare` made last for this lab, or None if it no longer exists.  Raises CorpusError."""
    try:
        folder = Path((lab.state / CORPUS).read_text().strip())
    except OSError:
        return None
    return open_corpus(folder) if folder.exists() else None


def remember_corpus(lab: Lab, corpus: Corpus) -> None:
    """Make ``corpus`` the default for the lab's next sessions."""
    lab.make_state()
    (lab.state / CORPUS).write_text(f"{corpus.folder}\n")


def corpus_here(settings: Settings, lab: Lab, profile: Profile) -> Corpus | None:
    """Return the corpus that `run` would train on, or None if it must still be prepared.  Raises CorpusError."""
    last = last_corpus(lab) if settings.data.source == "auto" else None
    return last or corpora.find(corpus_request(settings, profile), corpora.default_cache())


def _or(value: Any, automatic: Any) -> Any:
    return automatic if value == "auto" else value
