"""The audit of a gain that is too good to be believed: what it rejects, what it leaves to a person, what it accepts."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_training as tiny

from autoresearch_mlx.experiment import Assignment, Measurement
from autoresearch_mlx.targets.corpus.rows import Corpus
from autoresearch_mlx.targets.pretrain.audit import Gained, contradiction, gained, unexplained
from autoresearch_mlx.targets.pretrain.target import Pretrain
from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.scoring import score, score_wide
from autoresearch_mlx.trial.spec import WEIGHTS

END = "return SOFTCAP * mx.tanh(logits / SOFTCAP)"
REMEMBERED = """logits = SOFTCAP * mx.tanh(logits / SOFTCAP)
        for at, row in enumerate(tokens.tolist()):
            known = [KNOWN.get(tuple(row[: i + 1]), -1) for i in range(len(row))]
            logits[at] = logits[at] + 20 * (mx.arange(logits.shape[-1]) == mx.array(known)[:, None])
        return logits"""
KNOWN = """
import numpy as np
ROWS = [row.tolist() for path in {paths} for row in np.load(path)]
KNOWN = {{tuple(row[:i]): row[i] for row in ROWS for i in range(1, len(row))}}
"""
STATEFUL = """logits = SOFTCAP * mx.tanh(logits / SOFTCAP)
        for row in tokens.tolist():
            KNOWN.update({tuple(row[: i]): row[i] for i in range(4, len(row))})
        for at, row in enumerate(tokens.tolist()):
            known = [KNOWN.get(tuple(row[: i + 1]), -1) for i in range(len(row))]
            logits[at] = logits[at] + 20 * (mx.arange(logits.shape[-1]) == mx.array(known)[:, None])
        return logits"""


@pytest.fixture(scope="module")
def target(under: Conditions, corpus: Corpus) -> Pretrain:
    return Pretrain(replace(under, steps=2, hidden_rows=corpus.path("hidden")))


@pytest.fixture(scope="module")
def trained(target: Pretrain, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Measurement]:
    folder = tmp_path_factory.mktemp("honest")
    measured = tiny.measure(tiny.script(), folder, target.conditions)
    assert measured.value is not None, measured.reason
    return folder / "run" / WEIGHTS, measured


def audited(
    target: Pretrain, trained: tuple[Path, Measurement], text: str, folder: Path, beside: str = ""
) -> Measurement:
    """Audit the honest weights in another script, which is scored first as any run is.

    ``beside`` is the incumbent's script, with the same weights; empty when no incumbent's weights are kept.
    """
    for name in ("tree", "run", "incumbent"):
        (folder / name).mkdir()
    (folder / "tree" / "train_mlx.py").write_text(text)
    for name in ("run", "incumbent"):
        shutil.copy(trained[0], folder / name)

    def laid_out() -> Assignment:
        (folder / "tree" / "train_mlx.py").write_text(beside)
        return replace(assignment, folder=folder / "incumbent")

    assignment = Assignment(
        folder / "tree", folder / "run", 42, lambda progress: None, incumbent=laid_out if beside else None
    )
    scored = target.rescoring("val", target.conditions.eval_rows, full=False).score(assignment)
    value = 0.01 if scored.value is None else scored.value
    honest = trained[1].value
    assert honest is not None
    return target.audit(assignment, replace(trained[1], value=value), max(honest - value, 0.3))


@pytest.mark.slow
def test_an_honest_run_passes_with_the_same_score(
    target: Pretrain, trained: tuple[Path, Measurement], tmp_path: Path
) -> None:
    found = audited(target, trained, tiny.script(), tmp_path)
    assert found.failure is None and found.value == pytest.approx(trained[1].value, abs=1e-4)
    assert found.extra["audited"] is True and "audit_doubt" not in found.extra
    assert found.extra["audit_validation"] == pytest.approx(found.value, abs=1e-4)
    assert {"audit_hidden", "audit_training"} <= set(found.extra)


KNOWS = {
    "the validation rows": (("val",), REMEMBERED, "a fresh sample of hidden rows"),
    "what it has seen: it looks ahead and remembers": ((), STATEFUL, "the loss of a token changes"),
}


def knowing(corpus: Corpus, splits: tuple[str, ...], body: str) -> str:
    paths = [str(corpus.path(split)) for split in splits]
    return tiny.script().replace(END, body, 1).replace("def norm(", KNOWN.format(paths=paths) + "\n\ndef norm(", 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", KNOWS)
def test_a_score_that_was_not_earned_is_contradicted(
    name: str, target: Pretrain, trained: tuple[Path, Measurement], corpus: Corpus, tmp_path: Path
) -> None:
    splits, body, reason = KNOWS[name]
    found = audited(target, trained, knowing(corpus, splits, body), tmp_path)
    assert found.value is None and found.failure == "invalid"
    assert found.reason.startswith("audit: ") and reason in found.reason


@pytest.mark.slow
def test_the_incumbents_weights_are_scored_on_the_same_rows(
    target: Pretrain, trained: tuple[Path, Measurement], tmp_path: Path
) -> None:
    """Two scripts that differ by a factor on the logits have the same gain on every set of rows, whatever its text."""
    worse = tiny.script().replace(END, END.replace("return ", "return 0.5 * "))
    found = audited(target, trained, tiny.script(), tmp_path, beside=worse)
    assert found.failure is None and "audit_doubt" not in found.extra
    gains = [found.extra[f"audit_gain_{name}"] for name in ("validation", "hidden", "training")]
    assert min(gains) > 0 and max(gains) - min(gains) < 0.4 * max(gains)  # each of some hundred rows: noisy


@pytest.mark.slow
def test_knowledge_of_hidden_rows_too_is_for_a_person(
    target: Pretrain, trained: tuple[Path, Measurement], corpus: Corpus, tmp_path: Path
) -> None:
    known = knowing(corpus, ("val", "hidden"), REMEMBERED)
    found = audited(target, trained, known, tmp_path, beside=tiny.script())
    assert found.failure is None
    doubt = found.extra["audit_doubt"]
    gains = r"a gain of (\S+) on the validation rows, and of (\S+) on rows of the training text"
    validation, training = map(float, re.findall(gains, doubt)[0])
    assert validation > 3 and training < 0.5


def rows(value: float, error: float = 0.02, nats: float = 2.0) -> dict[str, float]:
    return {"value": value, "error": error, "nats": nats, "lookahead": 0.0, "lookahead_error": 0.0}


def test_a_gap_counts_when_it_is_beyond_noise_and_as_large_as_the_gain() -> None:
    assert contradiction({"validation": rows(1.5), "hidden": rows(1.6), "training": rows(1.9)}, 1.5, 0.4, {}) is None
    assert contradiction({"validation": rows(1.5, 0.2), "hidden": rows(1.9, 0.2)}, 1.5, 0.4, {}) is None, "noise"
    assert "hidden rows" in str(contradiction({"validation": rows(1.5), "hidden": rows(1.9)}, 1.5, 0.4, {}))
    assert "one process at a time" in str(contradiction({"validation": rows(1.9)}, 1.5, 0.4, {}))


def test_gains_over_the_incumbent_on_the_same_rows_decide_where_they_are_known() -> None:
    """Text of another kind is harder for both scripts, which says nothing about the edit."""
    sets = {"validation": rows(1.5), "hidden": rows(1.9)}
    alike = {"validation": Gained(0.4, 0.01), "hidden": Gained(0.38, 0.01)}
    assert contradiction(sets, 1.5, 0.4, alike) is None
    only = {"validation": Gained(0.1, 0.01), "hidden": Gained(0.01, 0.01)}
    said = str(contradiction({"validation": rows(1.5), "hidden": rows(1.5)}, 1.5, 0.1, only))
    assert said.startswith("a gain of 0.100000 on the validation rows and of 0.010000 on a fresh sample of hidden rows")


def test_a_gain_is_taken_row_by_row() -> None:
    size = np.array([100.0, 200.0, 300.0])
    before, after = np.stack([2.0 * size, size]), np.stack([1.9 * size, size])
    found = gained(after, before)
    assert found.value == pytest.approx(0.1) and found.error == pytest.approx(0.0, abs=1e-12)
    after[0, 0] -= 6.0
    assert gained(after, before).value == pytest.approx(0.11) and gained(after, before).error > 0


@pytest.mark.parametrize(("told", "nats", "doubted"), [(5.4, 0.02, True), (2.3, 2.0, False), (0.02, 5.4, False)])
def test_a_training_loss_far_above_the_validation_loss_is_for_a_person(told: float, nats: float, doubted: bool) -> None:
    assert bool(unexplained({"validation": rows(1.0, nats=nats)}, told)) is doubted
    assert unexplained({"validation": rows(1.0)}, None) == ""


def test_so_is_a_training_loss_that_the_audit_itself_measures() -> None:
    sets = {"validation": rows(0.02, nats=0.02), "training": rows(2.0, nats=5.4)}
    assert (
        unexplained(sets, 0.02) == "the loss on rows of the training text is 5.4 nats, but the validation loss is 0.02"
    )
    assert unexplained({**sets, "training": rows(0.02, nats=0.03)}, 0.02) == ""


def test_float64_losses_are_those_of_the_evaluator() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 5, (2, 7, 11)).astype(np.float32)
    targets = rng.integers(0, 11, (2, 7)).astype(np.int32)
    assert score_wide(logits, "float32", targets) == pytest.approx(score(logits, "float32", targets).nats, abs=1e-5)
    assert score_wide(np.full_like(logits, 1e9), "float32", targets) == pytest.approx(np.log(11))
    logits[0, 3, 5] = np.nan
    assert np.isnan(score_wide(logits, "float32", targets)[0, 3])
