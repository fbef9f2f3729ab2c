"""Compute the comparability key: the facts, besides the edited file, on which a value depends.

A key has parts, and a mark, which is a hash of the parts.  Two values can be compared only if their marks are equal; if
the marks differ, the parts show the difference.
The parts come from a session's record in the ledger and from a description of the machine.  An unknown part is
``None``, never a guess.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from autoresearch_mlx.lab.budget import of_conditions

NAMES: Mapping[str, str] = {
    "metric": "metric",
    "direction": "direction",
    "program": "program",
    "data": "data",
    "tokenizer": "tokenizer",
    "seq_len": "length of a row",
    "rows": "validation rows",
    "split": "split",
    "budget": "budget",
    "device": "device",
    "machine": "machine",
    "gpu_cores": "GPU cores",
    "blas": "BLAS",
    "mlx": "MLX",
    "mlx_wheel": "MLX's build",
}
"""Names of the parts for people, in the order in which the parts are shown."""
_LENGTH = 12


@dataclass(frozen=True, slots=True)
class Key:
    """A comparability key.

    ``parts`` has the value of each part by its name; most names are those in :data:`NAMES`.  A part that does not apply
    is missing; a part that is unknown is None.
    """

    parts: Mapping[str, Any]

    @property
    def mark(self) -> str:
        """Twelve hexadecimal digits of a SHA-256 of the parts; equal parts give equal marks on any machine."""
        return _digest(self.parts)

    def on(self, split: str) -> Key:
        """Return the key of values on the split ``split``; for a target without splits, return this key."""
        return replace(self, parts={**self.parts, "split": split}) if "split" in self.parts else self


def key_of(record: Mapping[str, Any], machine: Mapping[str, Any]) -> Key:
    """Return the key of a session whose ledger has no key, computed from the facts in the ledger.

    ``record`` is the first line of the ledger.  ``machine`` is the description of the machine in a measurement; if an
    entry is missing, the part is unknown.
    """
    conditions = record.get("conditions") or {}
    parts = trained_parts if "data_sha256" in conditions else program_parts
    return Key({"metric": record.get("metric"), "direction": record.get("direction"), **parts(conditions, machine)})


def program_parts(conditions: Mapping[str, Any], machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts for a number that a program prints: the chip, and the program with the number's pattern."""
    program = " | ".join(str(conditions[k]) for k in ("run", "pattern") if conditions.get(k))
    return {"program": program or None, "machine": machine.get("chip")}


def trained_parts(conditions: Mapping[str, Any], machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts for the score of a trained model: data, rows and budget, then device and machine."""
    return {**parts_of(conditions), **_hardware(conditions.get("device"), machine)}


def parts_of(conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts that a session fixes: data, rows and budget.  The data are described by hashes of the files."""
    ends = of_conditions(conditions)
    hashes = conditions.get("data_sha256")
    return {
        "data": f"{conditions.get('source')}, corpus {_corpus(hashes)}",
        "tokenizer": f"{conditions.get('vocab_size')} tokens, {_corpus(hashes, 'tokenizer.json', 'token_bytes.npy')}",
        "seq_len": conditions.get("seq_len"),
        "rows": f"{conditions.get('eval_rows')} rows, {_corpus(hashes, 'val.npy')}",
        "split": "val",
        "budget": None if ends is None else budget_in_words(ends.said()),
    }


def _corpus(hashes: Any, *files: str) -> str:
    """Return a short hash of the named files of a corpus.

    If no file is named, or a named file has no hash, return a hash of all files.
    """
    if not isinstance(hashes, Mapping):
        return str(hashes)[:_LENGTH]
    wanted = files if all(name in hashes for name in files) else ()
    return _digest({name: hashes[name] for name in wanted or hashes})


def _digest(parts: Mapping[str, Any]) -> str:
    text = json.dumps(dict(sorted(parts.items())), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]


def budget_in_words(said: float | str) -> str:
    """Return ``300 s`` for a time, and any other budget as lab.toml writes it."""
    return said if isinstance(said, str) else f"{said:g} s"


def _hardware(device: Any, machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts that describe the machine, such as the BLAS of a CPU or the number of a GPU's cores."""
    chip, gpu = machine.get("chip"), machine.get("gpu")
    named = gpu if device == "gpu" and gpu and gpu != chip else None
    own: dict[str, Any] = {"blas": machine.get("blas")} if device == "cpu" else {"gpu_cores": machine.get("gpu_cores")}
    parts = [part for part in (chip, named) if part]
    # On a Mac one of several builds of MLX is installed, each with other kernels.  On other systems, the key does not
    # have the part ``mlx_wheel``.
    build = {"mlx_wheel": wheel} if device == "gpu" and (wheel := machine.get("mlx_wheel")) else {}
    return {"device": device, "machine": ", ".join(parts) or None, **own, "mlx": minor(machine.get("mlx")), **build}


def minor(version: Any) -> str | None:
    """Return ``0.32`` for ``0.32.4``, because all patch releases of a version are assumed to give the same values."""
    found = re.match(r"\d+\.\d+", version) if isinstance(version, str) else None
    return found.group() if found else None


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the parts that are known in ``a`` and in ``b``, and differ.

    The names are in the order of :data:`NAMES`; names that are not in this table come last.
    """
    names = dict.fromkeys((*NAMES, *sorted({*a, *b} - {*NAMES})))
    known = (name for name in names if a.get(name) is not None and b.get(name) is not None)
    return tuple(name for name in known if a[name] != b[name])


def changes_in_words(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """Return the differences as text, such as ``MLX 0.31 -> 0.32``; empty if no known part differs."""
    return ", ".join(f"{NAMES.get(name, name)} {a[name]} -> {b[name]}" for name in differing(a, b))
