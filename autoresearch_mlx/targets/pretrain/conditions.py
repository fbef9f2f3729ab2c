"""Define the conditions of a session of the target ``pretrain``, and their form in the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autoresearch_mlx.errors import ConfigError
from autoresearch_mlx.hardware.profile import Device
from autoresearch_mlx.lab import budget
from autoresearch_mlx.lab.budget import Budget
from autoresearch_mlx.targets.contract import RESTART


@dataclass(frozen=True, slots=True)
class PretrainConditions:
    """The data, budget and device of every run of a session."""

    script: str
    """The training script, relative to the lab."""
    corpus: str
    """Folder of the corpus on the machine on which the session began."""
    source: str
    """Source of the text: stdlib, climbmix, tinystories or folder."""
    data_sha256: Mapping[str, str]
    """SHA-256 of each file of the corpus, by name."""
    vocab_size: int
    seq_len: int
    """Number of tokens in a row."""
    eval_rows: int
    """Number of rows on which a run is scored."""
    eval_rows_wanted: int | None
    """Number of rows that the settings ask for, or None in an old ledger; ``eval_rows`` is smaller if the corpus has
    fewer rows."""
    device: Device
    budget: Budget
    max_seconds: float | None
    """The longest training time in seconds for a budget of tokens or operations, or None for a budget of seconds."""
    compile_seconds: float
    """Seconds that the first step may take on top of the budget."""
    evaluate_seconds: float
    """The longest time that the evaluation may take, in seconds."""
    memory_limit_bytes: int | None
    """Memory limit in bytes that MLX gets; None means MLX's own limit."""

    text_closed: bool = False
    """Whether the held-out text is out of reach of the edited code; False in old ledgers."""

    @property
    def training_seconds(self) -> float | None:
        """Training time of a run in seconds, or None if a number of tokens or operations ends it."""
        return self.budget.amount if self.budget.kind == "seconds" else None

    @property
    def most_seconds(self) -> float:
        """The longest training time of a run, in seconds."""
        return self.budget.amount if self.budget.kind == "seconds" else float(self.max_seconds or 0.0)

    def to_json(self) -> dict[str, Any]:
        """Return plain values under the names, and in the order, that ledgers have always used."""
        most = self.max_seconds if self.max_seconds is not None else 0.0
        wanted = {} if self.eval_rows_wanted is None else {"eval_rows_wanted": self.eval_rows_wanted}
        return {
            "script": self.script,
            "corpus": self.corpus,
            "source": self.source,
            "data_sha256": dict(self.data_sha256),
            "vocab_size": self.vocab_size,
            "seq_len": self.seq_len,
            "eval_rows": self.eval_rows,
            **wanted,
            "device": self.device,
            **budget.to_conditions(self.budget, most),
            "compile_seconds": self.compile_seconds,
            "evaluate_seconds": self.evaluate_seconds,
            "memory_limit_bytes": self.memory_limit_bytes,
            **({"text_closed": True} if self.text_closed else {}),
        }

    @classmethod
    def from_json(cls, recorded: Mapping[str, Any]) -> PretrainConditions:
        """Return the conditions from a ledger.

        Raises ConfigError if a value is missing, or if this version does not know the kind of budget.
        """
        ends = budget.of_conditions(recorded)
        if ends is None:
            kind = recorded.get("budget_kind")
            raise ConfigError(f"this session's budget is {kind!r}, which this version does not know", RESTART)
        try:
            return cls(
                script=recorded["script"],
                corpus=recorded["corpus"],
                source=recorded["source"],
                data_sha256=recorded["data_sha256"],
                vocab_size=recorded["vocab_size"],
                seq_len=recorded["seq_len"],
                eval_rows=recorded["eval_rows"],
                eval_rows_wanted=recorded.get("eval_rows_wanted"),
                device=recorded["device"],
                budget=ends,
                max_seconds=None if ends.kind == "seconds" else float(recorded["max_seconds"]),
                compile_seconds=recorded["compile_seconds"],
                evaluate_seconds=recorded["evaluate_seconds"],
                memory_limit_bytes=recorded.get("memory_limit_bytes"),
                text_closed=bool(recorded.get("text_closed")),
            )
        except KeyError as error:
            raise ConfigError(f"the ledger's conditions lack {error.args[0]}", RESTART) from None
