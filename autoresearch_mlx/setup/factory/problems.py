"""Carry out the stage ``problem``: a model reads the evidence in batches and finds the problems that people describe.

The model quotes the posts that describe a problem.  A quote that is not in its post is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.setup.factory.asking import Asker, Unfit, fitting
from autoresearch_mlx.setup.factory.evidence import Piece, evidence_of, independent, quoted
from autoresearch_mlx.setup.factory.ledger import Book, Factory
from autoresearch_mlx.setup.factory.prompts import SHOWN, merge_prompt, problems_prompt

_BATCH_POSTS, _BATCH_CHARACTERS = 20, 12_000
_TITLE, _STATEMENT = 120, 600
_MOST = 40
"""Largest number of problems in one reply, and largest number of known problems in one prompt."""
_MOST_ENTERED = 100
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["problems"],
    "properties": {
        "problems": {
            "type": "array",
            "maxItems": _MOST,
            "items": {
                "type": "object",
                "required": ["title", "statement", "evidence"],
                "properties": {
                    "id": {"type": "string"},
                    "title": {"type": "string", "minLength": 3},
                    "statement": {"type": "string", "minLength": 10},
                    "evidence": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["post", "quote"],
                            "properties": {"post": {"type": "integer"}, "quote": {"type": "string"}},
                        },
                    },
                },
            },
        }
    },
}

SAME_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["same"],
    "properties": {"same": {"type": "array", "items": {"type": "array", "items": {"type": "string"}}}},
}


def chosen(pieces: Sequence[Piece], most: int) -> list[Piece]:
    """Return the pieces that the model reads, in their order: all pieces, or the ``most`` newest if there are more."""
    if len(pieces) <= most:
        return list(pieces)
    newest = sorted(pieces, key=lambda piece: (_day(piece.date), -piece.id), reverse=True)[:most]
    return sorted(newest, key=lambda piece: piece.id)


def _day(date: str) -> str:
    """Return a date in a form that sorts by time; an unknown or unreadable date sorts first."""
    from email.utils import parsedate_to_datetime

    if date[:4].isdigit():
        return date
    try:
        return parsedate_to_datetime(date).isoformat()
    except (TypeError, ValueError, IndexError):
        return ""


def batches(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Divide the pieces into batches that fit into a prompt."""
    found: list[list[Piece]] = []
    size = 0
    for piece in pieces:
        length = min(len(piece.text), SHOWN) + 60
        if not found or len(found[-1]) >= _BATCH_POSTS or size + length > _BATCH_CHARACTERS:
            found.append([])
            size = 0
        found[-1].append(piece)
        size += length
    return found


def read_batch(asker: Asker, batch: Sequence[Piece], known: Sequence[Mapping[str, Any]]) -> tuple[list[Any], str]:
    """Ask the model for the problems in one batch; return the problems, and the fault of the reply (empty if none).

    Each problem has ``id`` (empty for a new problem), ``title``, ``statement`` and ``evidence``, as in the ledger.
    ``known`` has the problems of earlier batches.
    """
    by_id = {piece.id: piece for piece in batch}
    known = sorted(known, key=lambda each: -len(each["evidence"]))[:_MOST]

    def read(text: str) -> list[Any]:
        value = fitting(text, SCHEMA)
        found = [_found(entry, by_id, {each["id"] for each in known}) for entry in value["problems"]]
        if found and not any(entry["evidence"] for entry in found):
            raise Unfit("no quote stands in the post that it names; copy the words exactly, and use the post's number")
        return [entry for entry in found if entry["evidence"]]

    answer = asker.ask(0, "problems", problems_prompt(batch, known), read, SCHEMA)
    return answer.value or [], answer.fault


def _found(entry: Mapping[str, Any], pieces: Mapping[int, Piece], known: set[str]) -> dict[str, Any]:
    evidence = dict[int, dict[str, Any]]()
    for each in entry["evidence"]:
        piece = pieces.get(each["post"])
        quote = quoted(piece, each["quote"]) if piece is not None else None
        if piece is not None and quote is not None:
            evidence.setdefault(piece.id, evidence_of(piece, quote))
    return {
        "id": entry.get("id", "") if entry.get("id", "") in known else "",
        "title": terms.one_line(entry["title"])[:_TITLE],
        "statement": terms.one_line(entry["statement"])[:_STATEMENT],
        "evidence": list(evidence.values()),
    }


def merged(read: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the problems of all batches in ``read``, each with all of its evidence.  The ids are p1, p2 and so on."""
    found: dict[str, dict[str, Any]] = {}
    for event in read:
        for entry in event["found"]:
            name = entry["id"] or _same_title(found, entry["title"]) or f"p{len(found) + 1}"
            problem = found.setdefault(name, {**entry, "id": name, "evidence": []})
            had = {each["piece"] for each in problem["evidence"]}
            problem["evidence"] += [each for each in entry["evidence"] if each["piece"] not in had]
    return list(found.values())


def equal_problems(asker: Asker, problems: Sequence[Mapping[str, Any]]) -> tuple[list[list[str]], str]:
    """Ask the model which problems differ only in wording; return groups of ids, and the fault of the reply."""
    if len(problems) < 2:
        return [], ""
    shown = sorted(problems, key=lambda each: -len(each["evidence"]))[:_MOST]
    known = {each["id"] for each in shown}

    def read(text: str) -> list[list[str]]:
        taken: set[str] = set()
        groups = []
        for wanted in fitting(text, SAME_SCHEMA)["same"]:
            group = [name for name in dict.fromkeys(wanted) if name in known and name not in taken]
            taken.update(group)
            groups += [group] if len(group) > 1 else []
        return groups

    answer = asker.ask(0, "merge", merge_prompt(shown), read, SAME_SCHEMA)
    return answer.value or [], answer.fault


def joined(problems: Sequence[Mapping[str, Any]], groups: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """Return the problems, with each group joined into one problem; it gets the id and words of the group's first."""
    into = {name: group[0] for group in groups for name in group}
    found: dict[str, dict[str, Any]] = {}
    for each in sorted(problems, key=lambda each: into.get(each["id"], each["id"]) != each["id"]):
        problem = found.setdefault(into.get(each["id"], each["id"]), {**each, "evidence": []})
        had = {piece["piece"] for piece in problem["evidence"]}
        problem["evidence"] += [piece for piece in each["evidence"] if piece["piece"] not in had]
    return list(found.values())


def _same_title(found: Mapping[str, Mapping[str, Any]], title: str) -> str:
    return next((name for name, each in found.items() if each["title"].casefold() == title.casefold()), "")


def find_problems(book: Book, state: Factory, asker: Asker, pieces: Sequence[Piece]) -> Iterator[str]:
    """Let the model read the remaining batches, write the problems into the ledger, and yield a line for each event."""
    todo = batches(chosen(pieces, state.options.read))
    read = list(state.batches)
    for at in range(len(read), len(todo)):
        found, fault = read_batch(asker, todo[at], merged(read))
        event = {"batch": at + 1, "of": len(todo), "found": found, "fault": fault, "model": asker.endpoint.name}
        book.append("read", **event)
        read.append(event)
        said = f"batch {at + 1} of {len(todo)}: {terms.plural(len(found), 'problem')}"
        yield f"problem: {said}" + (f"; the model's reply did not fit: {fault}" if fault else "")
    known = {problem.id for problem in state.problems}
    needed = state.options.pieces
    groups = state.same
    if groups is None:
        groups, fault = equal_problems(asker, merged(read)) if len(todo) > 1 else ([], "")
        book.append("merged", same=groups, fault=fault, model=asker.endpoint.name)
        said = f"; the model's reply did not fit: {fault}" if fault else ""
        again = sum(map(len, groups)) - len(groups)
        yield f"problem: {again} of {len(merged(read))} problems repeat another problem in other words{said}"
    problems = sorted(joined(merged(read), groups), key=lambda each: -independent(each["evidence"]))[:_MOST_ENTERED]
    taken = 0
    for each in problems:
        pieces_found = independent(each["evidence"])
        taken += pieces_found >= needed
        if each["id"] in known:
            continue
        told = {name: each[name] for name in ("title", "statement", "evidence")}
        book.append("problem", problem=each["id"], **told, independent=pieces_found, needed=needed)
        enough = "" if pieces_found >= needed else f", and {needed} are needed"
        count = f"{terms.plural(pieces_found, 'independent piece')} of evidence{enough}"
        yield f"problem {each['id']}: {each['title']}: {count}"
    book.append("listed", problems=len(problems), enough=taken)
    yield f"problem: {terms.plural(len(problems), 'problem')} found, {taken} with enough independent evidence"
