"""Ask a shipped agent one question, in a sandbox and with the budget of a test case."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.lab.lab import SETTINGS, Lab
from autoresearch_mlx.setup.factory.build import AGENT
from autoresearch_mlx.setup.factory.verify import measured, target_of
from autoresearch_mlx.targets.contract import Say
from autoresearch_mlx.targets.evals.appraisal import TRACES
from autoresearch_mlx.targets.evals.cases import Case


@dataclass(frozen=True, slots=True)
class Answered:
    """An agent's answer to one question."""

    answer: Any
    error: str
    """Why there is no answer; empty if there is an answer."""
    seconds: float
    tokens: int | None
    """Number of tokens of all calls to the model; None if the server does not report tokens."""
    calls: int


def ask(folder: Path, question: str, say: Say) -> Answered:
    """Ask the agent in ``folder`` a question and return its answer.

    Raises LabError when there is no agent or no sandbox, and EndpointError when the model's server does not answer.
    """
    if not (folder / SETTINGS).is_file() or not (folder / AGENT).is_file():
        raise LabError(f"there is no agent in {folder}", "name a folder of DIR/shipped")
    # No check is needed, because the answer is read from the trace.
    case = Case("asked", question, {"exact": "-"})
    target = replace(target_of(Lab(folder), (), say), parts={"dev": (case,), "guard": (), "hidden": ()})
    with tempfile.TemporaryDirectory(prefix="autoresearch-ask-") as temporary:
        run = Path(temporary) / "run"
        found = measured(target, folder, run)
        if not (run / TRACES).is_file():
            raise LabError(
                f"the agent cannot be asked: {found.reason}",
                "`autoresearch-mlx check` in the agent's folder gives details",
            )
        trace = json.loads((run / TRACES).read_text(encoding="utf-8").splitlines()[0])
    return Answered(trace["answer"], trace["error"], trace["seconds"], trace["tokens"], trace["calls"])
