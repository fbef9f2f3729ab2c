"""Download files from the Hugging Face hub: show progress, resume after a kill, and check each finished file.

The hub's own library finds the file, its size and its hash, and sends the user's token if there is one.  The bytes are
fetched here, because the library keeps no partial file after its process ends.  With the library, a killed download of
a gigabyte would begin again from its first byte.  One folder has these files:

    shard_00000.parquet                 whole and verified
    shard_00000.parquet.json            size, etag and commit of the shard
    shard_00000.parquet.<etag>.part     the bytes that have arrived; the etag in the name tells of which version
    shard_00000.parquet.lock            locked by the process that fetches the shard
"""

from __future__ import annotations

import fcntl
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from autoresearch_mlx.errors import CorpusError
from autoresearch_mlx.targets.corpus.files import write_bytes, writing
from autoresearch_mlx.targets.corpus.rows import sha256_of

Say: TypeAlias = Callable[[str], None]

ATTEMPTS = 4
"""A download fails after this many attempts in a row that bring no new byte; the pauses are 1, 2 and 4 seconds."""
CHUNK_BYTES = 1 << 16
TIMEOUT_SECONDS = 30.0
SAY_SECONDS = 5.0
OFFLINE = (
    "Run the same command again: the bytes that have arrived are kept.  Without a network use "
    "`autoresearch-mlx prepare stdlib` or `autoresearch-mlx prepare folder PATH`."
)


@dataclass(frozen=True, slots=True)
class Remote:
    """One version of one file on the hub."""

    url: str
    name: str
    size: int
    etag: str
    """The hub's name for this version of the file.  For a large file, this name is the SHA-256 of the content, 64
    hexadecimal digits."""
    commit: str | None


def fetch(repository: str, name: str, folder: Path, say: Say, endpoint: str | None = None) -> Path:
    """Return the local path of a file in a dataset of the hub; download the file first if it is not here.

    Raises CorpusError if the hub cannot be reached, has no such file, or sends wrong content.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    with _locked(path.with_name(f"{name}.lock"), say):
        if receipt(path) is None:
            _download(path, _find(repository, name, endpoint), say)
    return path


def receipt(path: Path) -> dict[str, Any] | None:
    """Return the size, etag and commit of a finished download.

    Returns None if ``path`` is not a finished download, or no longer has the recorded size.
    """
    try:
        known: dict[str, Any] = json.loads(_receipt_path(path).read_text(encoding="utf-8"))
        return known if path.stat().st_size == known["size"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def discard(path: Path) -> None:
    """Remove a download, so that the next call fetches it again."""
    for each in (path, _receipt_path(path)):
        each.unlink(missing_ok=True)


def _find(repository: str, name: str, endpoint: str | None) -> Remote:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    try:
        url = hf_hub_url(repository, name, repo_type="dataset", endpoint=endpoint)
        found = get_hf_file_metadata(url, endpoint=endpoint)
    except Exception as error:  # transport errors differ between the library's releases and have no common base class
        raise CorpusError(f"cannot find {name} of {repository} on the hub: {_line(error)}", OFFLINE) from error
    if not found.size or not found.etag:
        raise CorpusError(f"the hub sent no size or no etag for {name} of {repository}", OFFLINE)
    return Remote(url, name, found.size, found.etag, found.commit_hash)


def _download(path: Path, remote: Remote, say: Say) -> None:
    part = path.with_name(f"{path.name}.{re.sub(r'[^0-9A-Za-z]', '', remote.etag)[:16]}.part")
    for stale in path.parent.glob(f"{path.name}.*.part"):
        if stale != part:
            stale.unlink()
    _transfer(remote, part, say)
    _check(remote, part)
    known = {key: value for key, value in asdict(remote).items() if key in ("size", "etag", "commit")}
    # The receipt is written before the file gets its name, because a file without a receipt is downloaded again.
    write_bytes(_receipt_path(path), json.dumps(known).encode("utf-8"))
    with writing(path):
        part.replace(path)


def _transfer(remote: Remote, part: Path, say: Say) -> None:
    failures = 0
    if have := _size(part):
        say(f"resuming {remote.name} at {_mb(have)} of {_mb(remote.size)}")
    while (have := _size(part)) < remote.size:
        try:
            _stream(remote, part, have, say)
            error: Exception = EOFError("the server closed the connection early")
        except CorpusError:
            raise
        except Exception as caught:  # as in _find
            error = caught
        failures = failures + 1 if _size(part) <= have else 1
        if _size(part) < remote.size:
            if failures >= ATTEMPTS or _final(error):
                raise CorpusError(f"the download of {remote.name} stopped: {_line(error)}", OFFLINE) from error
            time.sleep(2.0 ** (failures - 1))


def _stream(remote: Remote, part: Path, have: int, say: Say) -> None:
    """Append the missing bytes without buffering, so that a kill loses no byte that has arrived."""
    from huggingface_hub import get_session, get_token

    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    if token := get_token():
        headers["Authorization"] = f"Bearer {token}"  # the client drops the token when it is redirected to another host
    with get_session().stream(
        "GET", remote.url, headers=headers, follow_redirects=True, timeout=TIMEOUT_SECONDS
    ) as response:
        response.raise_for_status()
        resumed = response.status_code == 206
        with writing(part):
            file = part.open("ab" if resumed else "wb", buffering=0)
        with file:
            for chunk in _told(response.iter_bytes(CHUNK_BYTES), have if resumed else 0, remote, say):
                with writing(part):
                    file.write(chunk)


def _told(chunks: Iterator[bytes], have: int, remote: Remote, say: Say) -> Iterator[bytes]:
    spoken = time.monotonic()
    for chunk in chunks:
        yield chunk
        have += len(chunk)
        if have >= remote.size or time.monotonic() - spoken >= SAY_SECONDS:
            spoken = time.monotonic()
            say(f"downloading {remote.name}: {_mb(have)} of {_mb(remote.size)} ({have / remote.size:.0%})")


def _check(remote: Remote, part: Path) -> None:
    """Check the size, and the SHA-256 if the hub gives one; remove a wrong file, and raise CorpusError."""
    size = _size(part)
    wrong = f"{size:,} bytes, not {remote.size:,}" if size != remote.size else ""
    if not wrong and re.fullmatch(r"[0-9a-f]{64}", remote.etag) and (found := sha256_of(part)) != remote.etag:
        wrong = f"SHA-256 {found[:12]}..., not {remote.etag[:12]}..."
    if wrong:
        part.unlink()
        raise CorpusError(f"{remote.name} arrived with {wrong}; the file has been removed", OFFLINE)


@contextmanager
def _locked(path: Path, say: Say) -> Iterator[None]:
    """Keep other processes from appending to the same file; the system frees the lock of a killed process."""
    with writing(path):
        file = path.open("wb")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process is downloading {path.stem}; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _final(error: Exception) -> bool:
    """Return whether the hub's answer is final (not found, not allowed), so that another attempt is useless."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return isinstance(status, int) and 400 <= status < 500 and status not in (408, 429)


def _receipt_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
