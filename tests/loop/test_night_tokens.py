"""A session whose experiments all train on the same number of tokens: real commands and MLX training, at tiny size."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import tiny_training as tiny
from command_runs import script
from conftest import command_line

from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.store.ledger import FILE

pytestmark = [pytest.mark.slow, pytest.mark.uncounted]

TOML = tiny.settings(
    '"match-tokens:6144"',
    """\
[judge]
mode = "margin"
margin = 0.0
""",
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a lab with a baseline, an edit that halves the batch, and an edit that reports a false number of tokens."""
    folder = tmp_path_factory.mktemp("tokens")
    root = tiny.lab(folder / "lab", TOML).root
    edits = {
        "half the batch": tiny.script(TOTAL_BATCH_SIZE=128, DEVICE_BATCH_SIZE=4),
        "a lie": tiny.script().replace("trial.log(step", "trial.tokens_served -= 256 * (step > 4); trial.log(step"),
    }
    steps = [{"title": title, "files": {"train_mlx.py": text}} for title, text in edits.items()]
    call(root, "run", "--tag", "t", "--agent", script(Lab(root), *steps), "--experiments", "2")
    return root


def call(root: Path, *arguments: str) -> str:
    cache = str(root.parent / "cache")
    done = command_line(*arguments, cwd=root, AUTORESEARCH_CACHE=cache)
    assert done.returncode == 0, done.stderr
    return done.stdout


def experiments(root: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in call(root, "log", "--json").splitlines()]


def test_half_the_batch_is_twice_the_steps_on_the_same_tokens(lab: Path) -> None:
    baseline, half, _ = experiments(lab)
    first, second = baseline["measurements"][0], half["measurements"][0]
    assert (first["steps"], first["tokens"]) == (24, 6144)
    assert (second["steps"], second["tokens"]) == (48, 6144)
    assert half["status"] in ("keep", "discard") and first["key"] == second["key"]
    assert first["curve"][-1][0] > 0.9, "the curve runs over the share of the tokens"


def test_a_script_that_lies_about_its_tokens_is_invalid(lab: Path) -> None:
    lie = experiments(lab)[2]
    assert (lie["status"], lie["value"]) == ("invalid", None)
    told = r"[\d,]+ tokens were served, but the script set trial\.tokens_served to [\d,]+"
    assert re.fullmatch(told, lie["reason"]), lie["reason"]
    assert "smoke" in lie["seconds"], "two steps went ahead, and found nothing"


def test_the_session_tells_its_budget_and_keeps_it(lab: Path) -> None:
    record = json.loads((lab / ".autoresearch" / "t" / FILE).read_text().splitlines()[0])
    conditions = {k: record["conditions"][k] for k in ("budget_kind", "budget_tokens", "budget_seconds", "max_seconds")}
    assert list(conditions.values()) == ["match-tokens", 6144, None, 43200.0]
    assert record["comparability"]["budget"] == "match-tokens:6144"
    assert "6,144 tokens of training per experiment" in call(lab, "status")
    again = command_line("run", "--experiments", "0", "--budget", "match-tokens:6144", cwd=lab)
    assert again.returncode == 0 and "6,144 tokens of training per experiment on the cpu" in again.stderr, again.stderr
    other = command_line("run", "--experiments", "0", "--budget", "20", cwd=lab)
    assert "measures with budget.seconds = match-tokens:6144, but the command line says 20.0" in other.stderr
    wrong = command_line("run", "--budget", "match-tokens:lots", cwd=lab)
    assert wrong.returncode == 2 and "match-tokens:h100, match-flops:2e15" in wrong.stderr


def test_kept_weights_are_scored_again(lab: Path) -> None:
    assert json.loads(call(lab, "evaluate", "--rows", "32", "--json"))["rows"] == 32
