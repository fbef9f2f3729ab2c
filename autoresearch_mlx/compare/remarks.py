"""Split a description into the statement of the change, the asides in parentheses, and the remarks that follow."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LABEL = re.compile(r"^(?:exp ?\d+\w?|gpu\d+|agent\d+|iter(?:ation)? ?\d+|#\d+)\s*:\s*", re.IGNORECASE)
_PAIRS = {"(": ")", "[": "]"}
_SCOPE = re.compile(
    r"\b(?:for|on) (?:the )?(?:(?:value|token|input|output)[ _])?"
    r"(?:embed\w*|lm_head|unembed\w*|head|scalars?|norms?|biases|first|last|early|late|later|each|every|only|layers?|attention|mlp"
    r"|ffn|encoder|decoder|experts?|router|(?:value|key|query|kv) heads?|weight decay|wd|momentum|betas?)\b",
    re.IGNORECASE,
)
"""Words that limit a change to a part of the model or of the run."""
_ONLY = re.compile(
    r"\bonly (?:to|for|on|in|during|after|until)\b|\b(?:on|to|for|in)\s+(?:\w+\s+){1,3}only\b"
    r"|\b(?:after|during|until|before)\s+(?:the )?(?:steps?|epochs?|first|last|\d+\s?(?:%|steps?))",
    re.IGNORECASE,
)
"""Words such as "only for" or "during the first", which limit a change to a part of the model or of the run."""
_BESIDES = re.compile(
    r"\b(?:combined|along|together) with\b|\bin addition\b|\bas well as\b|^also (?!too)|^(?:\+|and|plus)\s",
    re.IGNORECASE,
)
_DOES_MORE = re.compile(
    r"(?:also |and |plus )?(?:add(?:ed|s)?|us(?:e|ed|ing)|switch(?:ed)?|swap(?:ped)?|remov(?:e|ed)|enabl(?:e|ed)|"
    r"disabl(?:e|ed)|chang(?:e|ed)|tie[ds]?|drop(?:ped)?|new|bf16|fp16|fp8)\b(?! ?(?:best|sota|record|low|minimum))",
    re.IGNORECASE,
)
"""Pattern of the beginning of a remark that names another change."""
_REPLACES = re.compile(r"replac(?:e|ed)\b", re.IGNORECASE)
"""Pattern of the beginning of an aside that says what the change replaces."""
_SETS = re.compile(r"(?:[A-Z][A-Z0-9_]{2,}\s*=\s*[0-9.^*]+[\s,+]*)+")
_JOINT = re.compile(r"(\s\+\s|\band\b|\bplus\b|\s&\s|,\s(?=[a-zA-Z0-9])|\bwith\b|\bthen\b)")
_PURPOSE = (
    "allow|improve|encourage|prevent|reduce|increase|provide|enable|avoid|help|give|get|speed|stabilize|maintain|match|double|"
    "make|save|fit|free|spend|lengthen|slow|permit|explore|test|see|check|boost|lower|raise|let|force|extend"
)
_COMMENT = re.compile(
    r"\s[—–]\s|\s--?\s|;|:\s|\.\s|\s(?:on|after|during|for|because|since|despite|hypothesis|evidence)\s"
    rf"|\sat\s(?!\d)|\bover \d+ steps|\bto (?=(?:{_PURPOSE})\b)|,\s(?:potentially|possibly|thereby|improving|trading|"
    r"giving|allowing|reducing|increasing|providing|spending|supporting|encouraging|so|but|which|where|as)\s"
)
_CONTEXT = re.compile(
    r"(?:the )?(?:small|tuned|current|best|optimi[sz]ed)\b[\w .-]*|muon|adamw|caffeinate|wd|"
    r"\d+-?min(?:ute)? budget(?: no cap)?",
    re.IGNORECASE,
)
"""Words after "with" that only describe the circumstances of a change."""
_EXPLAINS = re.compile(
    r"(?:hypothesis|evidence|because|since|vs\.?|note|e\.g\.|like|as|expected|expect|see|re:|from|was|"
    r"up from|down from)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Line:
    """The parts of a description."""

    main: str
    """The statement, without asides and remarks."""
    parts: list[str]
    """The statements in ``main``, which are joined there by "and", "+", "with" or commas."""
    asides: list[str]
    sets: list[str]
    """Asides that only give values to constants, such as ``TOTAL_BATCH_SIZE=2^13``; they belong to the change."""
    remarks: list[str]
    """Text that explains or judges the change; it may still state another change."""
    sentences: list[str]
    """The remarks after a punctuation mark such as a semicolon or a dash, without the remarks after a word such as
    "at"."""
    more: bool
    """True if the line says that there was a further change, or that the change affects only a part of the model or
    run."""


def split_line(text: str) -> Line:
    """Return the parts of a description.  Never raises."""
    rest, asides = _without_asides(_LABEL.sub("", text.strip()))
    main, *behind = (piece.strip() for piece in _COMMENT.split(rest))
    marks = _COMMENT.findall(rest)
    inside = [piece.strip() for aside in asides for piece in re.split(r"[;,]", aside)]
    open_asides = [aside for aside in asides if not _EXPLAINS.match(aside) and "divisible" not in aside]
    said = [piece.strip() for aside in open_asides for piece in re.split(r"[;,]\s", aside)]
    more = any(_BESIDES.search(piece) for piece in (*behind, *said, *asides))
    more = more or any(_DOES_MORE.match(piece) or _REPLACES.match(piece) for piece in behind)
    return Line(
        main=main,
        parts=_parts(main),
        asides=asides,
        sets=[piece for piece in inside if _SETS.fullmatch(piece)],
        remarks=[
            piece
            for piece in (*behind, *(each for each in said if not _SETS.fullmatch(each) and not _EXPLAINS.match(each)))
            if piece and "divisible" not in piece
        ],
        sentences=[piece for mark, piece in zip(marks, behind, strict=True) if not re.search("[a-z]", mark.lower())],
        more=more or any(_DOES_MORE.match(piece) for piece in said) or _is_limited(rest),
    )


def _is_limited(text: str) -> bool:
    """Return whether the change affects only a part of the model or of the run, as in ``... for value embeddings``."""
    begins = re.search(r"\b(?:for|on)\s", text)
    return _ONLY.search(text) is not None or (begins is not None and _SCOPE.match(text, begins.start()) is not None)


def _without_asides(text: str) -> tuple[str, list[str]]:
    """Return two values: the text without asides in parentheses or brackets, and the asides.

    A call such as ``tanh(x)`` is not an aside.

    An aside without a closing bracket, as in a line that was cut off, extends to the end of the line.
    """
    left, asides, at = "", [], 0
    while at < len(text):
        opens = text[at]
        if opens not in _PAIRS or (at and (text[at - 1] in "=" or text[at - 1].islower()) and opens == "("):
            left += opens
            at += 1
            continue
        depth, end = 1, at + 1
        while end < len(text) and depth:
            depth += (text[end] == opens) - (text[end] == _PAIRS[opens])
            end += 1
        asides.append(text[at + 1 : end - (depth == 0)].strip())
        left += " "
        at = end
    return left, asides


def _parts(main: str) -> list[str]:
    pieces = _JOINT.split(main)
    joined = zip(["", *pieces[1::2]], pieces[::2], strict=True)
    return [piece.strip() for joint, piece in joined if piece.strip() and not (joint == "with" and _is_context(piece))]


def _is_context(piece: str) -> bool:
    return _CONTEXT.fullmatch(piece.strip()) is not None
