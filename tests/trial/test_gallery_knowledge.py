"""Edits that carry knowledge past the limits on literals: they are large, and gain on one set of rows only.

Rows that score are written down as strings with blanks, as names, as comments of words, as arguments of calls.
"""

from __future__ import annotations

import random
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_training as tiny

from autoresearch_mlx.experiment import Assignment, Experiment, History, Measurement, Verdict
from autoresearch_mlx.judge.evidence import Again, Decision
from autoresearch_mlx.judge.judge import KNOWLEDGE_BYTES, Case, Judge
from autoresearch_mlx.lab.literals import Bounds, added_bytes, too_much
from autoresearch_mlx.targets.corpus.rows import Corpus
from autoresearch_mlx.targets.pretrain.target import Pretrain
from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.spec import WEIGHTS

SCRIPT = tiny.script()
RANDOM = random.Random(0)
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
WORDS = re.findall("[a-z]+", "the of and to in is it that for was on are as with his they at be this have from word")


def drawn(count: int) -> str:
    return "".join(RANDOM.choices(LETTERS, k=count))


FORMS = {
    "strings with blanks": "\n".join(f'P{i} = "{" ".join(drawn(50) for _ in range(8))}"' for i in range(3)),
    "names": "class Known:\n" + "\n".join(f"    k{drawn(40)} = 1" for _ in range(40)),
    "comments of words": "\n".join("# " + " ".join(RANDOM.choices(WORDS, k=14)) for _ in range(80)),
    "arguments of calls": "\n".join("f(" + ", ".join(RANDOM.choices("ab", k=90)) + ")" for _ in range(70)),
    "indentation": "\n".join(f"if True:\n{' ' * RANDOM.randrange(1, 60)}pass" for _ in range(900)),
    "the order of many lines": "\n".join(RANDOM.sample([f"x{i} = x{i // 2}" for i in range(900)], 900)),
}


@pytest.mark.parametrize("form", FORMS)
def test_what_no_bound_refuses_is_seen_by_how_much_it_adds(form: str) -> None:
    text = f"{SCRIPT}\n{FORMS[form]}\n"
    assert too_much("train_mlx.py", SCRIPT, text, Bounds()) is None, "then it would not need an audit"
    assert added_bytes(SCRIPT, text) > KNOWLEDGE_BYTES


def test_an_ordinary_edit_adds_little() -> None:
    knob = tiny.script(MATRIX_LR=0.03, DEPTH=3)
    assert added_bytes(SCRIPT, knob) < 30
    assert added_bytes(SCRIPT, SCRIPT) == 0
    assert added_bytes("", "") == 0
    deleted = SCRIPT.replace("    return weight\n", "    return 0.5 * weight\n")[: len(SCRIPT) // 2]
    assert added_bytes(SCRIPT, deleted) < 30, "what is taken away adds nothing"


def decided(*runs: Measurement, added: int = 2000, audited: bool = False, accepted: bool = False) -> Decision:
    before = Measurement(2.0, 42)
    baseline = Experiment(
        0, "keep", 2.0, None, "b", None, None, "baseline", None, {}, "", "", "", "", measurements=(before,)
    )
    case = Case(1, runs, audited=audited, auditable=True, accepted=accepted, added_bytes=added)
    return Judge(margin=0.01, mode="margin").decide(History((baseline,), "val_bpb", "min"), case)


def test_a_large_edit_is_kept_only_after_an_audit_however_small_its_gain() -> None:
    run = Measurement(1.95, 42)
    asked = decided(run)
    assert isinstance(asked, Again) and asked.audit and asked.gain == pytest.approx(0.05)
    assert asked.reason.startswith("the edit adds 2,000 compressed bytes, which could hold knowledge")
    passed = decided(run, Measurement(1.95, 43, extra={"audited": True}), audited=True)
    assert isinstance(passed, Verdict) and passed.status == "keep"
    failed = decided(run, Measurement(None, 43, "invalid", "audit: it does not carry over"), audited=True)
    assert isinstance(failed, Verdict) and failed.status == "invalid"
    doubted = decided(run, Measurement(1.95, 43, extra={"audited": True, "audit_doubt": "a gap"}), audited=True)
    assert isinstance(doubted, Verdict) and doubted.held and "a gap" in doubted.reason


def test_a_small_edit_an_accepted_one_and_one_that_loses_need_none() -> None:
    run = Measurement(1.95, 42)
    for found in (decided(run, added=200), decided(run, accepted=True)):
        assert isinstance(found, Verdict) and found.status == "keep"
    lost = decided(Measurement(2.1, 42))
    assert isinstance(lost, Verdict) and lost.status == "discard"


def test_an_edit_that_can_never_be_audited_is_given_up() -> None:
    found = decided(*[Measurement(1.95, 42 + i) for i in range(7)])
    assert isinstance(found, Verdict) and found.status == "invalid"
    assert found.reason.endswith("none of its 7 runs was audited")


END = "return SOFTCAP * mx.tanh(logits / SOFTCAP)"
KNOWN = """logits = SOFTCAP * mx.tanh(logits / SOFTCAP)
        for at, row in enumerate(tokens.tolist()):
            known = [KNOWN.get(tuple(row[: i + 1]), -1) for i in range(len(row))]
            logits[at] = logits[at] + 20 * (mx.arange(logits.shape[-1]) == mx.array(known)[:, None])
        return logits"""


@pytest.mark.slow
def test_a_gain_of_a_few_percent_on_the_validation_rows_alone_does_not_carry_over(
    under: Conditions, corpus: Corpus, tmp_path: Path
) -> None:
    """Some tokens of each row are known, so that the gain is too small to be audited for its size."""
    target = Pretrain(replace(under, steps=2, hidden_rows=corpus.path("hidden")))
    honest = tiny.measure(SCRIPT, tmp_path / "honest", target.conditions)
    rows = [row[:6].tolist() for row in np.load(corpus.path("val"))]
    table = f"\nKNOWN = {{tuple(row[:i]): row[i] for row in {rows} for i in range(4, len(row))}}\n"
    text = SCRIPT.replace(END, KNOWN, 1).replace("def norm(", f"{table}\n\ndef norm(", 1)
    for name in ("tree", "run", "incumbent"):
        (tmp_path / name).mkdir()
    (tmp_path / "tree" / "train_mlx.py").write_text(text)
    for name in ("run", "incumbent"):
        shutil.copy(tmp_path / "honest" / "run" / WEIGHTS, tmp_path / name)

    def laid_out() -> Assignment:
        (tmp_path / "tree" / "train_mlx.py").write_text(SCRIPT)
        return replace(assignment, folder=tmp_path / "incumbent")

    assignment = Assignment(tmp_path / "tree", tmp_path / "run", 42, lambda progress: None, incumbent=laid_out)
    scored = target.rescoring("val", target.conditions.eval_rows, full=False).score(assignment)
    assert scored.value is not None and honest.value is not None
    gain = honest.value - scored.value
    assert 0.02 < gain / honest.value < 0.08
    found = target.audit(assignment, replace(honest, value=scored.value), gain)
    assert (found.value, found.failure) == (None, "invalid")
    assert f"a gain of {gain:.6f}" in found.reason and "on a fresh sample of hidden rows" in found.reason
