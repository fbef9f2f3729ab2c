"""Recognise an outage or a usage limit of a coding agent's service in the output of the agent's program.

The patterns match what Claude Code, Codex, Gemini CLI, aider and the APIs behind them print, as reported by users.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

_LINES = 15
"""Number of last lines of the output that are searched for signs of an outage or a limit."""
_SAID = 160
_MARGIN_SECONDS = 30.0
"""Seconds to wait beyond the time that a service names."""

_LIMITS = re.compile(
    r"(usage|session|weekly|daily|hourly|message|request|rate|spend\w*|token|5.hour|\w+ limit)[ _-]limits?(?![a-z])"
    r"[^\n]*(reached|hit|exceeded|exhausted)|"
    r"(hit|reached|exceeded)\s[^\n]{0,30}\blimits?\b|"
    r"limit[^\n]{0,40}\bresets?\b|"
    r"rate[ _-]?limit(ed|_error|exceeded| exceeded| error)|too many requests|RESOURCE_EXHAUSTED|"
    r"resource (has been )?exhausted|exceeded your current quota|quota (exceeded|exhausted|will reset)|"
    r"exhausted your\s[^\n]{0,30}\b(quota|capacity|credits|usage)|"
    r"(out of|used up) (your )?((extra|included|weekly) )?usage\b|"
    r"exceeded your\s[^\n]{0,30}\b(allowance|usage)\b",
    re.IGNORECASE,
)
_OVERLOADED = re.compile(
    r"\boverloaded(_error)?\b|(service|temporarily|currently)[ _]?unavailable|server is busy|at capacity|high demand|"
    r"(error|status|code|http(/\d\.\d)?|api error)\W{0,12}(429|5(00|02|03|04|29))\b|\b(429|5(00|02|03|04|29)) "
    r"(too many|internal server|bad gateway|service|gateway|overloaded)|internal server error|bad gateway|"
    r"gateway time-?out",
    re.IGNORECASE,
)
_UNREACHABLE = re.compile(
    r"\b(ECONNREFUSED|ECONNRESET|ENOTFOUND|ETIMEDOUT|EAI_AGAIN|ENETUNREACH|EHOSTUNREACH)\b|getaddrinfo|fetch failed|"
    r"(connection|network) (error|refused|reset|timed out|failed)|could not (resolve|connect)|unable to connect|"
    r"name resolution|socket hang up|stream (disconnected|error)|network is unreachable|request timed out",
    re.IGNORECASE,
)
_PERSON = re.compile(
    r"log ?in\b|logged (out|in)|api[ _-]?key|unauthori[sz]ed|authenticat|\b401\b|\b403\b|credit balance|billing|"
    r"unknown (option|argument|command)|unrecognized|invalid option|unexpected argument|usage:|not found|no such",
    re.IGNORECASE,
)
"""Pattern of problems that only the user can solve; waiting does not help."""

_EPOCH = re.compile(r"(?:limit reached\||\bresets?(?:[_-]?at)?\W{1,4})(\d{10})\b", re.IGNORECASE)
_IN = re.compile(
    r"(?:(?:try again|retry|reset[s]?|wait|available again)[^\n.]{0,20}?\b(?:in|after|for)|\bwait)\s+"
    r"((?:(?:about\s+)?\d+(?:\.\d+)?\s*(?:d|days?|h|hours?|hrs?|m|minutes?|mins?|s|seconds?|secs?)(?![a-z])"
    r"[ ,]*(?:and )?)+)|"
    r"retry[-_ ]?(?:after|delay)\W{1,4}((?:\d+(?:\.\d+)?)\s*s?)\b(?![-/:])|"
    r"resets?_(?:in|after)_seconds\W{1,4}(\d+)",
    re.IGNORECASE,
)
_ONE = re.compile(r"\b(half )?(?:an?|one) (?=(day|hour|minute|second)\b)", re.IGNORECASE)
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([dhms]?)", re.IGNORECASE)
_UNITS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "": 1.0}
_DATE = re.compile(
    r"(?:resets?|try again|retry|available again)[^\n\d]{0,20}"
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:\.\d+)?\s*(Z|UTC|[+-]\d\d:?\d\d)?",
    re.IGNORECASE,
)
_AT = re.compile(
    r"(?:resets?|try again|available again)(?:\s+(?:at|on|after))?\s+"
    r"(?:(?P<weekday>tomorrow|(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?),?\s+(?:at\s+)?|"
    r"(?P<month>[A-Z][a-z]{2})[a-z]*\.?\s+(?P<day>\d{1,2})(?:st|nd|rd|th)?,?(?:\s+(?P<year>\d{4}),?)?(?:\s+at)?\s+)?"
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d\d))?\s*(?P<half>[ap]\.?m\.?)?"
    r"(?:\s*\((?P<zone>[A-Za-z_]+(?:/[A-Za-z_+\-0-9]+)*)\)|\s*(?P<short>UTC|GMT|P[SD]?T|E[SD]?T|CES?T)\b)?",
    re.IGNORECASE,
)  # fmt: skip
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ZONES = {"U": "UTC", "G": "UTC", "P": "America/Los_Angeles", "E": "America/New_York", "C": "Europe/Paris"}
"""Time zones by the first letter of an abbreviation that ``_AT`` matches."""


@dataclass(frozen=True, slots=True)
class Outage:
    """The reason why a service does not answer now."""

    words: str
    seconds: float | None
    """Seconds until the service answers again, as the message says; None when the message names no time."""


def outage(output: str, now: datetime | None = None) -> Outage | None:
    """Return the outage or usage limit that the last lines of an output report; None when there is no such report.

    ``now`` is the current time with its zone.  It gives the date if the output names only a time of day.  If ``now`` is
    None, the clock is read.
    """
    lines = [line.strip() for line in output.splitlines() if line.strip()][-_LINES:]
    for pattern in (_LIMITS, _OVERLOADED, _UNREACHABLE):
        said = next((line for line in reversed(lines) if pattern.search(line)), None)
        if said is not None:
            return Outage(said[:_SAID], _until("\n".join(lines), now or datetime.now().astimezone()))
    return None


def asks_for_a_person(output: str) -> bool:
    """Return whether the last lines name something that only the user can change, such as a login or an option."""
    return any(_PERSON.search(line) for line in output.splitlines()[-_LINES:])


def _until(text: str, now: datetime) -> float | None:
    """Return the seconds until the latest time that the text names for another try; None without such a time."""
    text = _ONE.sub(lambda match: "0.5 " if match[1] else "1 ", text)
    found = [
        seconds
        for seconds in (*_stamps(text, now), *_spans(text), *_dates(text, now), *_hours(text, now))
        if seconds >= 0
    ]
    return max(found) + _MARGIN_SECONDS if found else None


def _stamps(text: str, now: datetime) -> Iterator[float]:
    for match in _EPOCH.finditer(text):
        yield int(match.group(1)) - now.timestamp()


def _spans(text: str) -> Iterator[float]:
    for match in _IN.finditer(text):
        span = match[1] or match[2] or match[3]
        yield sum(float(size) * _UNITS[unit.lower()] for size, unit in _PART.findall(span))


def _dates(text: str, now: datetime) -> Iterator[float]:
    """Yield the seconds until each date and time that the text names in the form of ISO 8601; a time without a zone is
    local."""
    for match in _DATE.finditer(text):
        with suppress(ValueError):
            zone = {"": "", "UTC": "+00:00", "Z": "+00:00"}.get((match[3] or "").upper(), match[3])
            at = datetime.fromisoformat(f"{match[1]}T{match[2]}{zone}")
            yield (at if at.tzinfo else at.replace(tzinfo=now.tzinfo)).timestamp() - now.timestamp()


def _hours(text: str, now: datetime) -> Iterator[float]:
    """Yield the seconds until each time of day that the text names, such as ``resets 5:10pm (Europe/Paris)`` or
    ``resets Oct 9 at 5pm``."""
    for match in _AT.finditer(text):
        half, minute = (match["half"] or "").lower().replace(".", ""), match["minute"]
        if not half and minute is None:
            continue  # a bare number is not a time
        hour = int(match["hour"])
        if half:
            hour = hour % 12 + (12 if half == "pm" else 0)
        try:
            zone = match["zone"] or (_ZONES[match["short"][0].upper()] if match["short"] else "")
            there = now.astimezone(ZoneInfo(zone)) if zone else now
            at = there.replace(hour=hour, minute=int(minute or 0), second=0, microsecond=0)
            if match["month"]:
                month = _MONTHS.index(match["month"].lower()) + 1
                at = at.replace(year=int(match["year"] or there.year), month=month, day=int(match["day"]))
                if not match["year"] and at < there - timedelta(days=180):
                    at = at.replace(year=there.year + 1)  # in December, a date in January is in the next year
            elif match["weekday"]:
                at += timedelta(days=_days_until(match["weekday"].lower(), there, at))
            elif at <= there:
                at += timedelta(days=1)
        except (ValueError, OSError, KeyError):
            continue  # the zone is unknown, or there is no such day
        yield (at - there).total_seconds()


def _days_until(day: str, now: datetime, at: datetime) -> int:
    """Return the days until ``tomorrow`` or a day of the week.

    Today's weekday is 0 days away, or 7 days if the time ``at`` has passed.
    """
    if day == "tomorrow":
        return 1
    ahead = (_WEEKDAYS.index(day[:3]) - now.weekday()) % 7
    return 7 if ahead == 0 and at <= now else ahead
