"""Push this lab's results to a remote, and pull other labs' results; each result is a commit under its own ref.

    refs/autoresearch/share/<lab>/<machine>/<session>-<number>

The commit has one file, ``result.json``.  If the edit won, two other commits come first: one with the changed files as
they were before the edit, and one with the same files after the edit.  These commits are the whole history of the ref,
so nothing else in the repository is published.  This program never changes an existing ref, and ignores changes that
others make to a ref.
"""

from __future__ import annotations

import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from autoresearch_mlx.errors import LabError, WorkspaceError
from autoresearch_mlx.share.outgoing import Outgoing, Source
from autoresearch_mlx.share.place import Place, Pulled
from autoresearch_mlx.share.remote import Push, Remote, mark_of
from autoresearch_mlx.share.result import FILE, MOST_BYTES, Result, read_result, result_to
from autoresearch_mlx.store.git import git
from autoresearch_mlx.store.journal import now

REFS = "refs/autoresearch/share"
_REF = re.compile(rf"{REFS}/([0-9a-f]{{10}})/([0-9a-f]{{8}})/([0-9a-f]{{8}})-([1-9][0-9]{{0,6}})")
_AT_ONCE = 100
"""Largest number of refs in one push."""
MOST_AT_ONCE, MOST_OF_ONE_LAB, MOST_KEPT = 2000, 2000, 20_000
"""Largest numbers of results: fetched by one pull, kept from one lab, and kept in total."""
MOST_FILE_BYTES = 512 * 1024
_WHO = "autoresearch-mlx <autoresearch-mlx@localhost>"


@dataclass(frozen=True, slots=True)
class Sent:
    """The outcome of a push."""

    published: tuple[str, ...] = ()
    """Names of the results that this push added to the remote."""
    refused: tuple[str, ...] = ()
    """Names of results that were not published, because the remote already has refs of these names with different
    contents."""
    denied: tuple[str, ...] = ()
    """Names of results that the remote rejected, by a hook for example; a later push offers them again."""


@dataclass(frozen=True, slots=True)
class Received:
    """The outcome of a pull."""

    new: tuple[Pulled, ...] = ()
    refused: Mapping[str, int] = field(default_factory=dict)
    """Reason -> number of objects that were refused for that reason.  A reason is a clause such as "it is not JSON"."""
    left: int = 0
    """Number of new results that were not fetched, because of the limits of one pull or of all kept results."""


# --- push


def push(source: Source, remote: Remote) -> Sent:
    """Publish those results of a session that the remote does not have yet.  Raises RemoteAway, LedgerError."""
    place, mark = source.place, mark_of(remote)
    published: list[str] = []
    refused: list[str] = []
    denied: list[str] = []
    with place.alone():
        waiting = list(source.outgoing(place.pushed(mark)))
        for start in range(0, len(waiting), _AT_ONCE):
            batch = waiting[start : start + _AT_ONCE]
            commits = write_commits(place, batch)
            pushes = [Push(f"{REFS}/{name}", commit) for name, commit in commits.items()]
            accepted = remote.push(pushes)
            there = remote.refs(f"{REFS}/{place.lab}/*") if not all(accepted.values()) else {}
            done = [p for p in pushes if accepted[p.ref] or there.get(p.ref) == p.commit]
            names = [p.ref.removeprefix(f"{REFS}/") for p in done]
            published += names
            # A ref that has different contents on the remote stays as it is. The journal notes the ref's name, so that
            # the next push leaves it out.
            others = [p.ref.removeprefix(f"{REFS}/") for p in pushes if p not in done and p.ref in there]
            refused += others
            denied += [p.ref.removeprefix(f"{REFS}/") for p in pushes if p not in done and p.ref not in there]
            place.note("pushed", remote=mark, names=[*names, *others])
    return Sent(tuple(published), tuple(refused), tuple(denied))


def write_commits(place: Place, results: Sequence[Outgoing]) -> dict[str, str]:
    """Write results into the pool; return {name of a result: commit}.  The same result always gives the same commit."""
    if not results:
        return {}
    refs = {each.result.name: f"refs/outgoing/{each.result.name}" for each in results}
    stream = b"".join(part for each in results for part in _commits(each, refs[each.result.name]))
    place.git_reading(stream, "fast-import", "--quiet", "--force", "--date-format=raw")
    listed = git(place.pool, "for-each-ref", "--format=%(refname) %(objectname)", "refs/outgoing").splitlines()
    found = dict(line.split(" ") for line in listed)
    return {name: found[ref] for name, ref in refs.items()}


def _commits(each: Outgoing, ref: str) -> Iterator[bytes]:
    """Yield the commits of one result as a stream for ``git fast-import``."""
    seconds = int(datetime.fromisoformat(each.result.finished).replace(tzinfo=UTC).timestamp())
    head = f"commit {ref}\ncommitter {_WHO} {max(seconds, 0)} +0000\n".encode()
    text = json.dumps(result_to(each.result), indent=1).encode() + b"\n"
    yield f"reset {ref}\n".encode()
    if each.after:
        yield head + _data(b"the files before the edit\n") + b"deleteall\n" + _files(each.before) + b"\n"
        yield head + _data(f"{each.result.title}\n".encode()) + b"deleteall\n" + _files(each.after) + b"\n"
    yield head + _data(f"result: {each.result.title}\n".encode()) + b"deleteall\n" + _files({FILE: text}) + b"\n"


def _files(files: Mapping[str, str] | Mapping[str, bytes]) -> bytes:
    whole = {path: text if isinstance(text, bytes) else text.encode() for path, text in files.items()}
    return b"".join(f"M 100644 inline {_quoted(path)}\n".encode() + _data(text) for path, text in whole.items())


def _quoted(path: str) -> str:
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _data(text: bytes) -> bytes:
    return f"data {len(text)}\n".encode() + text + b"\n"


# --- pull


def pull(place: Place, remote: Remote) -> Received:
    """Fetch the new results of other labs.  Raises RemoteAway, LedgerError.

    If an object is not a result, the journal gets the reason, and the object is not fetched again.
    """
    mark = mark_of(remote)
    with place.alone():
        events = place.events()
        seen = {str(e.get("ref")): str(e.get("commit")) for e in events if e["event"] in ("pulled", "refused")}
        kept = Counter(
            str(e.get("ref")).removeprefix(f"{REFS}/").split("/")[0] for e in events if e["event"] == "pulled"
        )
        refused: Counter[str] = Counter()
        wanted: dict[str, list[str]] = defaultdict(list)
        there = remote.refs(f"{REFS}/*")
        for ref, commit in there.items():
            found = _REF.fullmatch(ref)
            if found is None:
                refused["its ref has no valid name"] += 1
            elif ref in seen:
                if seen[ref] != commit:
                    refused["its ref was changed after the first push; the first version stays"] += 1
            elif found[1] != place.lab:
                wanted[found[1]].append(ref)
        chosen, left = _in_turns(wanted, kept, MOST_KEPT - kept.total())
        failed = remote.fetch({ref: there[ref] for ref in chosen})
        texts = _read(place, {ref: there[ref] for ref in chosen if ref not in failed})
        new: list[Pulled] = []
        number = max((e["number"] for e in events if type(e.get("number")) is int), default=0)
        for ref in chosen:
            result = failed.get(ref) or _checked(ref, texts[ref])
            if isinstance(result, str):
                refused[result] += 1
                place.note("refused", remote=mark, ref=ref, commit=there[ref], reason=result)
                continue
            number += 1
            place.note("pulled", number=number, remote=mark, ref=ref, commit=there[ref], result=result_to(result))
            new.append(Pulled(number, mark, ref, there[ref], now(), result))
    return Received(tuple(new), dict(refused), left)


def _in_turns(wanted: Mapping[str, Sequence[str]], kept: Mapping[str, int], room: int) -> tuple[list[str], int]:
    """Return the refs to fetch now, taken from each lab in turn, and the number of refs that are left for a later pull.

    Without turns, a lab with thousands of results would make all other labs wait.
    """
    ranked = [
        (at, lab, ref)
        for lab, refs in wanted.items()
        for at, ref in enumerate(sorted(refs, key=_by_number)[: MOST_OF_ONE_LAB - kept.get(lab, 0)])
    ]
    chosen = [ref for _, _, ref in sorted(ranked)][: max(0, min(MOST_AT_ONCE, room))]
    return chosen, sum(map(len, wanted.values())) - len(chosen)


def _by_number(ref: str) -> tuple[str, int]:
    """Return a sort key: the session, then the experiment's number as an integer, so that 10 comes after 9."""
    session, _, number = ref.rpartition("-")
    return session, int(number)


def _checked(ref: str, text: bytes | str) -> Result | str:
    """Return the result at a ref, or the reason why it is not a valid result for this ref."""
    result = read_result(text) if isinstance(text, bytes) else text
    if isinstance(result, Result) and ref != f"{REFS}/{result.name}":
        return "its ref has the name of another result"
    return result


def _read(place: Place, commits: Mapping[str, str]) -> dict[str, bytes | str]:
    """Return {ref: JSON text of the result, or the reason why there is none}.  The size of a text is checked before the
    text is read."""
    names = {ref: f"{commit}:{FILE}" for ref, commit in commits.items()}
    listed = _batch(place, "--batch-check=%(objecttype) %(objectsize)", names.values())
    found: dict[str, bytes | str] = {}
    for ref, line in zip(names, listed.decode(errors="replace").splitlines(), strict=True):
        kind, _, size = line.partition(" ")
        if kind != "blob" or not size.isdigit():
            found[ref] = f"it has no file {FILE}"
        elif int(size) > MOST_BYTES:
            found[ref] = f"its text has {int(size):,} bytes; at most {MOST_BYTES:,} are read"
    rest = {ref: name for ref, name in names.items() if ref not in found}
    stream = io.BytesIO(_batch(place, "--batch=%(objectsize)", rest.values()))
    for ref in rest:  # git writes a line with the size of each object, then the object's bytes and a line end
        found[ref] = stream.read(int(stream.readline()))
        stream.readline()
    return found


def read_files(pool: Path, pulled: Pulled) -> tuple[dict[str, str], dict[str, str]]:
    """Return the files of a winning edit as two tables {path: text}: before the edit, and after the edit.

    Raises LabError if a file is missing, too large, or not UTF-8 text.
    """
    after, before = (_tree(pool, f"{pulled.commit}{up}", pulled) for up in ("^", "^^"))
    if missing := [path for path in pulled.result.files if path not in after]:
        raise _unusable(pulled, f"{', '.join(missing)} is not among the published files")
    return before, after


def _tree(pool: Path, commit: str, pulled: Pulled) -> dict[str, str]:
    try:
        listed = git(pool, "ls-tree", "-r", "-z", "-l", commit).split("\0")
    except WorkspaceError:
        raise _unusable(pulled, "its files were not published") from None
    found: dict[str, str] = {}
    for entry in listed:
        about, _, path = entry.partition("\t")
        if path not in pulled.result.files:
            continue
        mode, _, blob, size = about.split()
        if mode not in ("100644", "100755") or not size.isdigit() or int(size) > MOST_FILE_BYTES:
            raise _unusable(pulled, f"{path} is not a regular file of at most {MOST_FILE_BYTES:,} bytes")
        found[path] = git(pool, "cat-file", "blob", blob)
        if any("\udc80" <= c <= "\udcff" for c in found[path]):
            raise _unusable(pulled, f"{path} is not UTF-8 text")
    return found


def _unusable(pulled: Pulled, why: str) -> LabError:
    said = f"result {pulled.number} cannot be adopted: {why}"
    return LabError(said, "`autoresearch-mlx share REMOTE log` lists all results")


def _batch(place: Place, how: str, names: Iterable[str]) -> bytes:
    return place.git_reading("".join(f"{name}\n" for name in names).encode(), "cat-file", "--buffer", how)
