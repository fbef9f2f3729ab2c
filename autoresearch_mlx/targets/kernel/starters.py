"""List the starters: functions that are worth a kernel in a small GPT, each with a reference and a first candidate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.targets.kernel.extract import Wanted

METAL = "kernel_metal.py"
"""Name of the file with a starter's Metal candidate; the file lies beside kernel.py, and the user may try it."""
_TEXTS = Path(__file__).parent / "inside" / "starters"


@dataclass(frozen=True, slots=True)
class Starter:
    """One function, and the sizes at which a small GPT calls it."""

    name: str
    words: str
    arguments: Mapping[str, tuple[tuple[str, Any], ...]]
    """``cpu`` or ``gpu`` -> parameters, each with (shape, number type) or a constant."""
    outputs: int = 1
    differentiated: bool = True

    def text(self, file: str) -> str:
        """Return the text of the starter's file ``reference``, ``kernel`` or ``metal``."""
        return (_TEXTS / self.name / f"{file}.py").read_text(encoding="utf-8")

    def wanted(self, device: str) -> Wanted:
        """Return the function from which to make a kernel lab."""
        arguments = [[name, _argument(value)] for name, value in self.arguments[device]]
        return Wanted(
            self.name,
            self.name,
            self.text("reference"),
            arguments,
            self.outputs,
            self.differentiated,
            row=None,
            script=None,
            first=self.text("kernel"),
        )


def _argument(value: Any) -> Any:
    return [list(value[0]), value[1]] if isinstance(value, tuple) else {"constant": value}


def _losses(rows: int, vocabulary: int, kind: str) -> tuple[tuple[str, Any], ...]:
    return ("logits", ((rows, vocabulary), kind)), ("targets", ((rows,), "int32")), ("cap", 15.0)


def _stream(rows: int, length: int, width: int, kind: str) -> tuple[tuple[str, Any], ...]:
    both = ((rows, length, width), kind)
    return ("x", both), ("x0", both), ("keep", ((1,), kind)), ("add", ((1,), kind))


STARTERS = (
    Starter(
        "softcap_cross_entropy",
        "the loss: soft cap of the logits, then cross-entropy",
        {"cpu": _losses(512, 2048, "float32"), "gpu": _losses(8192, 16384, "bfloat16")},
    ),
    Starter(
        "relu_squared",
        "the MLP's squared ReLU, with its casts to float32 and back",
        {"cpu": (("x", ((8, 64, 1024), "bfloat16")),), "gpu": (("x", ((16, 1024, 3072), "bfloat16")),)},
    ),
    Starter(
        "norm_residual",
        "a layer's input: residual stream and embedding, each times a scalar, and their RMSNorm",
        {"cpu": _stream(8, 128, 256, "float32"), "gpu": _stream(16, 1024, 768, "bfloat16")},
        outputs=2,
    ),
    Starter(
        "symmetric_product",
        "x x^T in a Newton-Schulz step of Muon",
        {"cpu": (("x", ((4, 256, 1024), "float32")),), "gpu": (("x", ((8, 768, 3072), "float32")),)},
        differentiated=False,
    ),
)


def starter_named(name: str) -> Starter:
    """Return the starter with this name.  Raises LabError if there is no such starter."""
    found = next((each for each in STARTERS if each.name == name), None)
    if found is None:
        raise LabError(f"there is no starter {name}", f"starters: {', '.join(each.name for each in STARTERS)}")
    return found
