"""Write the report of the self-test, for pasting into an issue: a line for each check, then a code block."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from autoresearch_mlx import __version__, terms
from autoresearch_mlx.hardware.doctor_lines import build_line
from autoresearch_mlx.hardware.machine import Machine, describe
from autoresearch_mlx.setup.selftest.blot import Blot
from autoresearch_mlx.setup.selftest.check import Finding, Output, State

MARKS: Mapping[State, str] = {"ok": "ok", "note": "look", "fail": "FAIL", "absent": "-"}
_PACKAGES = ("mlx", "mlx-metal", "mlx-cpu", "mlx-cuda-12", "mlx-cuda-13", "numpy", "mlx-lm", "tokenizers")
_MOST_LINES = 40
"""Largest number of lines of one output in the report."""


def line_of(finding: Finding, blot: Blot) -> str:
    """Return the line of one check; it begins with four spaces, so that Markdown shows it unchanged."""
    words = terms.one_line(blot(finding.result.words))
    return f"    {finding.name:<12} {MARKS[finding.result.state]:<5} {finding.seconds:>6.1f} s  {words}"


def summary(findings: Sequence[Finding]) -> str:
    """Return a summary such as ``2 of 12 checks failed (products, speed); 1 to look at (agent); it took 3:07``."""
    failed, look = ([f.name for f in findings if f.result.state == state] for state in ("fail", "note"))
    took = terms.clock(sum(f.seconds for f in findings))
    said = f"{len(failed)} of {terms.plural(len(findings), 'check')} failed ({', '.join(failed)})" if failed else ""
    seen = f"{len(look)} to look at ({', '.join(look)})" if look else ""
    return "; ".join(part for part in (said or "no check failed", seen, f"it took {took}") if part)


def block(findings: Sequence[Finding], machine: Machine, blot: Blot) -> str:
    """Return the code block of the report: the machine, the versions, and the outputs of the system's programs."""
    lines = [f"{name}: {value}" for name, value in facts(machine).items()]
    for output in outputs(findings):
        lines += ["", *_shown(output)]
    text = blot(terms.printable("\n".join(lines)))
    fence = "```" if "```" not in text else "~~~~"
    return f"{fence}text\n{text}\n{fence}"


def facts(machine: Machine) -> dict[str, str]:
    """Return the facts about the machine that the report shows, by name."""
    wheels = [
        f"{name} {version}{tag}"
        for name in _PACKAGES
        if (version := _version(name)) and (tag := _tag(name)) is not None
    ]
    known = {
        "autoresearch-mlx": __version__,
        "machine": describe(machine),
        "system": f"{platform.system()} {platform.release()} {machine.arch}",
        "python": f"{platform.python_version()} ({sys.implementation.name}, {platform.python_compiler()})",
        "packages": ", ".join(wheels),
    }
    if machine.wheel is not None:
        known["MLX's build"] = build_line(machine.wheel, machine).value
    return known


def outputs(findings: Sequence[Finding]) -> Iterator[Output]:
    for finding in findings:
        yield from finding.result.outputs


def document(findings: Sequence[Finding], machine: Machine, blot: Blot) -> dict[str, Any]:
    """Return the whole report as JSON values."""
    return {
        "took_seconds": round(sum(f.seconds for f in findings), 1),
        "facts": {name: blot(value) for name, value in facts(machine).items()},
        "checks": [
            {
                "name": f.name,
                "what": f.what,
                "state": f.result.state,
                "words": blot(f.result.words),
                "seconds": f.seconds,
            }
            for f in findings
        ],
        "outputs": [
            {
                "command": blot(o.command),
                "seconds": o.seconds,
                "read": blot(o.read),
                "text": blot(terms.printable(o.text)),
            }
            for o in outputs(findings)
        ],
    }


def _shown(output: Output) -> Iterator[str]:
    took = f"  ({output.seconds:.2f} s)" if output.seconds is not None else ""
    read = f"  -> {output.read}" if output.read else ""
    yield f"$ {output.command}{took}{read}" if output.seconds is not None else f"# {output.command}"
    lines = output.text.rstrip().splitlines()
    yield from lines[:_MOST_LINES]
    if len(lines) > _MOST_LINES:
        yield f"({len(lines) - _MOST_LINES} more lines)"


def _version(name: str) -> str | None:
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(name)
    return None


def _tag(name: str) -> str | None:
    """Return the tags of a package's wheel, such as `` (cp311-cp311-macosx_14_0_arm64)``; empty if unknown."""
    with suppress(importlib.metadata.PackageNotFoundError, OSError):
        text = importlib.metadata.distribution(name).read_text("WHEEL") or ""
        tags = [line.removeprefix("Tag: ").strip() for line in text.splitlines() if line.startswith("Tag: ")]
        return f" ({', '.join(tags)})" if tags else ""
    return ""
