"""Every call to a model is kept in full in a file of its own, and the totals are right even if files are damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autoresearch_mlx.report.conversation import render_prompts, render_replies, spent_words
from autoresearch_mlx.store.talks import CALLS, COMMAND, FOLDER, Call, Spent, blotted, calls_of, keep, spent

KEY = "sk-very-secret-0123456789"


def call(experiment: int = 1, **more: Any) -> Call:
    usual = {
        "model": "ollama:m",
        "purpose": "proposal",
        "messages": [{"role": "system", "content": "You improve."}, {"role": "user", "content": "What next?"}],
        "time": "2026-01-01T00:00:00+00:00",
        "reply": "X = 3",
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "estimated_prompt_tokens": 120,
    }
    return Call(experiment=experiment, **{**usual, **more})


# --- keeping calls


def test_every_call_is_a_file_of_its_own_numbered_within_its_experiment(tmp_path: Path) -> None:
    kept = [keep(tmp_path, call(number)) for number in (7, 7, 8, 7)]
    assert kept == ["talks/0007-1.json", "talks/0007-2.json", "talks/0008-1.json", "talks/0007-3.json"]
    assert all((tmp_path / file).is_file() for file in kept)


def test_a_call_is_read_back_as_it_was_kept(tmp_path: Path) -> None:
    keep(tmp_path, call(reply="é 試", reasoning="hm", finish="stop", load_seconds=1.5, cut=("loss curves",)))
    (back,) = calls_of(tmp_path, 1)
    assert (back["reply"], back["reasoning"], back["finish"], back["load_seconds"]) == ("é 試", "hm", "stop", 1.5)
    assert (back["cut"], back["messages"][1]["content"]) == (["loss curves"], "What next?")


def test_calls_come_oldest_first_also_beyond_nine(tmp_path: Path) -> None:
    for number in range(12):
        keep(tmp_path, call(reply=str(number)))
    assert [c["reply"] for c in calls_of(tmp_path, 1)] == [str(n) for n in range(12)]


def test_half_a_surrogate_pair_can_be_kept(tmp_path: Path) -> None:
    keep(tmp_path, call(reply="a \ud800 b", error="\udfff"))
    (back,) = calls_of(tmp_path, 1)
    assert back["reply"].startswith("a ") and back["reply"].endswith(" b")
    assert spent(tmp_path).calls == 1


def test_secrets_are_blotted_out_of_every_text(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": f"key {KEY}"}]
    keep(tmp_path, call(messages=messages, reply=KEY, reasoning=f"{KEY}!", error=KEY, cut=(KEY,)), [KEY, ""])
    for file in (tmp_path / FOLDER).iterdir():
        assert KEY not in file.read_text()
    (back,) = calls_of(tmp_path, 1)
    assert (back["messages"][0]["content"], back["reply"]) == ("key ***", "***")


def test_blotting_reaches_into_every_json_value() -> None:
    value = {KEY: [KEY, (f"a {KEY} b", 1, None)], "n": {"x": 2.5}}
    assert blotted(value, [KEY]) == {"***": ["***", ["a *** b", 1, None]], "n": {"x": 2.5}}
    assert blotted("as it is", [""]) == "as it is"


# --- damaged files


def test_a_damaged_file_is_left_out(tmp_path: Path) -> None:
    for number in range(4):
        keep(tmp_path, call(reply=str(number)))
    talks = tmp_path / FOLDER
    (talks / "0001-1.json").write_text('{"reply": ')
    (talks / "0001-2.json").write_bytes(b"\xff\xfe\x00")
    (talks / "0001-3.json").write_text("[1, 2]")
    assert [c["reply"] for c in calls_of(tmp_path, 1)] == ["3"]


def test_a_file_of_somebody_elses_is_passed_over(tmp_path: Path) -> None:
    keep(tmp_path, call())
    (tmp_path / FOLDER / "0001-copy.json").write_text("{}")
    (tmp_path / FOLDER / "0001-.json").write_text("{}")
    assert [c["reply"] for c in calls_of(tmp_path, 1)] == ["X = 3"]


def test_a_number_whose_file_was_removed_is_not_used_for_another_call(tmp_path: Path) -> None:
    for number in range(3):
        keep(tmp_path, call(reply=str(number)))
    (tmp_path / FOLDER / "0001-1.json").unlink()
    keep(tmp_path, call(reply="new"))
    assert [c["reply"] for c in calls_of(tmp_path, 1)] == ["1", "2", "new"]


def test_without_a_folder_nothing_was_said(tmp_path: Path) -> None:
    assert list(calls_of(tmp_path, 1)) == []
    assert spent(tmp_path) == Spent()


# --- sums


def test_the_sum_counts_every_call_by_the_servers_numbers_or_by_ours(tmp_path: Path) -> None:
    keep(tmp_path, call())
    keep(tmp_path, call(2, prompt_tokens=None, completion_tokens=None, reply="x" * 40))
    assert spent(tmp_path) == Spent(calls=2, prompt_tokens=220, completion_tokens=30, estimated=1)
    assert spent(tmp_path).tokens == 250


def test_the_sum_in_memory_is_the_sum_on_disk(tmp_path: Path) -> None:
    total = Spent()
    for one in (call(), call(reasoning="hm" * 9, completion_tokens=None), call(reply=None, prompt_tokens=None)):
        keep(tmp_path, one)
        total = total.plus(one)
    assert spent(tmp_path) == total


def test_the_calls_of_a_coding_agent_are_counted_by_nobody(tmp_path: Path) -> None:
    keep(tmp_path, call(purpose=COMMAND))
    assert spent(tmp_path).calls == 0


def test_a_torn_last_line_and_a_line_that_is_none_cost_only_themselves(tmp_path: Path) -> None:
    keep(tmp_path, call())
    path = tmp_path / FOLDER / CALLS
    line = path.read_bytes()
    path.write_bytes(line + b"no json\n[1]\n\xff\n" + line + line[: len(line) // 2])
    assert spent(tmp_path) == Spent(calls=2, prompt_tokens=200, completion_tokens=40)


@pytest.mark.parametrize("value", ["many", -5, True, 1.5, [1], {}])
def test_a_count_that_is_none_counts_as_unknown(tmp_path: Path, value: Any) -> None:
    keep(tmp_path, call())
    path = tmp_path / FOLDER / CALLS
    other = {**json.loads(path.read_text()), "prompt_tokens": value, "completion_tokens": value}
    path.write_text(json.dumps(other) + "\n")
    assert spent(tmp_path) == Spent(calls=1, prompt_tokens=120, completion_tokens=1, estimated=1)


def test_after_a_torn_line_the_next_call_is_not_lost(tmp_path: Path) -> None:
    keep(tmp_path, call())
    path = tmp_path / FOLDER / CALLS
    path.write_bytes(path.read_bytes() + b'{"experiment": 1, "mod')
    keep(tmp_path, call(2))
    assert spent(tmp_path).calls == 2


def test_money_needs_both_prices() -> None:
    total = Spent(calls=1, prompt_tokens=2_000_000, completion_tokens=500_000)
    assert total.cost(1.0, 4.0) == pytest.approx(4.0)
    assert total.cost(0.0, 0.0) == 0.0
    assert total.cost(1.0, None) is None and total.cost(None, 1.0) is None


# --- in words


def test_what_was_spent_in_words() -> None:
    total = Spent(calls=12, prompt_tokens=80_000, completion_tokens=4_120)
    assert spent_words(total, None, (None, None)) == "12 calls, 84,120 tokens"
    assert spent_words(total, 0.1301, (2_000_000, 5.0)) == "12 calls, 84,120 of 2,000,000 tokens, cost 0.1301 of 5"
    estimated = Spent(calls=1, prompt_tokens=10, estimated=1)
    assert spent_words(estimated, None, (None, None)).endswith("estimated for 1 call without the server's count")


def test_prompts_and_replies_are_shown_without_codes_for_the_terminal(tmp_path: Path) -> None:
    keep(tmp_path, call(reply="bad \x1b[2J reply", reasoning="\x1b]0;title\x07hm", error=None, finish="stop"))
    keep(tmp_path, call(reply=None, error="hung: \x1b[31m", prompt_tokens=None, purpose="repair", cut=("hints",)))
    calls = list(calls_of(tmp_path, 1))
    for text in (render_prompts(calls), render_replies(calls)):
        assert "\x1b" not in text and "call 1: proposal from ollama:m" in text and "call 2: repair" in text
    assert "about 120 tokens by our estimate" in render_prompts(calls)
    assert "cut to fit: hints" in render_prompts(calls)
    assert "[thinking]" in render_replies(calls) and "[error] hung:" in render_replies(calls)


@pytest.mark.parametrize(
    "damaged",
    [
        {},
        {"messages": "none", "reply": 7, "cut": 1},
        {"messages": [1, {"role": None}], "prompt_tokens": "many", "completion_tokens": [], "think_seconds": "long"},
        {"load_seconds": "short", "cut": "all", "reasoning": {"a": 1}, "error": ["b"]},
    ],
)
def test_a_call_that_somebody_edited_is_still_shown(damaged: dict[str, Any]) -> None:
    assert render_prompts([damaged])
    assert render_replies([damaged])
