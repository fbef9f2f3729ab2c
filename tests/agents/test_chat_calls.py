"""Calls to a model: limits, patience, and the stored record of each call, which never contains the key."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest
from chat_cases import CODE, KNOB, MODEL, Voice, away, coded, office, reply
from conftest import command_line
from openai_server import OpenAIServer
from server_behaviours import fail, say

from autoresearch_mlx.agents.chat.calls import Calls, Spending, secrets_of
from autoresearch_mlx.errors import AgentError, EndpointError
from autoresearch_mlx.lab.config import AgentSettings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.models.wire import Ask, Message, Reply
from autoresearch_mlx.store.talks import calls_of, spent

ASK = Ask((Message("user", "what next?"),), prompt_tokens=1000, max_tokens=500, seconds=5.0)
COUNTED = reply(KNOB, prompt_tokens=900, completion_tokens=100)


# --- caps


def test_a_call_whose_prompt_would_pass_the_cap_is_not_made(tmp_path: Path) -> None:
    voice = Voice(COUNTED)
    calls = Calls(voice, office(tmp_path, max_tokens_total=2500))
    calls.make(1, "proposal", ASK)
    calls.make(2, "proposal", replace_tokens(ASK, 1500))
    with pytest.raises(Spending) as caught:
        calls.make(3, "proposal", ASK)
    assert str(caught.value) == (
        "2,000 of max_tokens_total = 2,500 tokens are spent, and the next prompt has about 1,000"
    )
    assert "max_tokens_total" in caught.value.hint and "--agent knobs" in caught.value.hint
    assert len(voice.asks) == 2
    assert list(calls_of(tmp_path, 3)) == []


def replace_tokens(ask: Ask, tokens: int) -> Ask:
    return Ask(ask.messages, tokens, ask.max_tokens, ask.seconds)


def test_a_cap_counts_what_was_spent_before_a_restart(tmp_path: Path) -> None:
    Calls(Voice(COUNTED), office(tmp_path)).make(1, "proposal", ASK)
    again = Calls(voice := Voice(COUNTED), office(tmp_path, max_tokens_total=1999))
    assert again.spent.tokens == 1000
    with pytest.raises(Spending):
        again.make(2, "proposal", ASK)
    assert voice.asks == []


def test_a_cap_on_money_is_reckoned_from_both_prices(tmp_path: Path) -> None:
    prices = {"price_in": 1000.0, "price_out": 10_000.0}
    calls = Calls(Voice(COUNTED), office(tmp_path, max_cost=3.0, **prices))
    calls.make(1, "proposal", ASK)
    calls.make(2, "proposal", ASK)
    assert calls.spent.cost(**prices) == pytest.approx(2 * 1.9)
    with pytest.raises(Spending, match=r"3\.8000 of max_cost = 3 is spent"):
        calls.make(3, "proposal", ASK)
    with pytest.raises(Spending):
        Calls(Voice(COUNTED), office(tmp_path, max_cost=3.0, **prices)).make(3, "proposal", ASK)


def test_our_estimates_stand_in_where_the_server_gives_no_counts(tmp_path: Path) -> None:
    text = "é" * 400
    calls = Calls(Voice(reply(text)), office(tmp_path))
    calls.make(1, "proposal", ASK)
    assert (calls.spent.prompt_tokens, calls.spent.completion_tokens) == (1000, len(text.encode()) // 4)
    assert calls.spent.estimated == 1
    assert spent(tmp_path) == calls.spent


def test_an_answer_that_broke_off_was_paid_for_and_one_that_never_came_was_not(tmp_path: Path) -> None:
    calls = Calls(Voice(away("dropped", partial="half an answer"), away("unreachable")), office(tmp_path))
    with pytest.raises(EndpointError):
        calls.make(1, "proposal", ASK)
    assert (calls.spent.calls, calls.spent.tokens) == (2, 1000 + len("half an answer") // 4)
    assert [c["reply"] for c in calls_of(tmp_path, 1)] == ["half an answer", None]
    assert [c["error"].split(":")[0] for c in calls_of(tmp_path, 1)] == ["dropped", "unreachable"]


def test_without_a_folder_caps_hold_all_the_same() -> None:
    calls = Calls(Voice(COUNTED), office(None, max_tokens_total=1500))
    assert calls.make(1, "proposal", ASK)[1] is None
    with pytest.raises(Spending):
        calls.make(1, "repair", ASK)


# --- patience


def test_a_busy_server_is_asked_again_after_the_pause_it_asks_for(tmp_path: Path) -> None:
    said: list[str] = []
    voice = Voice(away("busy", retry_after=0.1), away("busy", retry_after=0.1), COUNTED)
    began = time.monotonic()
    answer, file = Calls(voice, office(tmp_path, said, patience_seconds=30.0)).make(1, "proposal", ASK)
    assert time.monotonic() - began >= 0.2
    assert answer.text == KNOB and file == "talks/0001-3.json"
    assert len(said) == 2, "once when it goes, once when it comes back"
    assert said[0].endswith("asking again for up to 30 s") and said[1] == "voice:30b answers again"


def test_a_pause_longer_than_the_patience_is_not_waited_for(tmp_path: Path) -> None:
    voice = Voice(away("busy", retry_after=3600.0), COUNTED)
    with pytest.raises(EndpointError):
        Calls(voice, office(tmp_path, patience_seconds=5.0)).make(1, "proposal", ASK)
    assert len(voice.asks) == 1


def test_without_patience_a_broken_answer_is_still_asked_for_once_more(tmp_path: Path) -> None:
    for kind, tries in (("dropped", 2), ("garbled", 2), ("busy", 1), ("hung", 1), ("unreachable", 1)):
        voice = Voice(away(kind))
        with pytest.raises(EndpointError):
            Calls(voice, office(tmp_path, patience_seconds=60.0), patience_seconds=0.0).make(1, "proposal", ASK)
        assert len(voice.asks) == tries, kind


@pytest.mark.parametrize("kind", ["refused", "overflow"])
def test_what_the_server_says_no_to_is_not_asked_again(tmp_path: Path, kind: str) -> None:
    voice = Voice(away(kind))
    with pytest.raises(EndpointError):
        Calls(voice, office(tmp_path, patience_seconds=60.0)).make(1, "proposal", ASK)
    assert len(voice.asks) == 1


def test_a_folder_that_cannot_be_written_ends_the_asking(tmp_path: Path) -> None:
    (tmp_path / "talks").write_text("in the way")
    with pytest.raises(AgentError, match="cannot be stored"):
        Calls(Voice(COUNTED), office(tmp_path)).make(1, "proposal", ASK)


# --- keys

KEY = "sk-very-secret-0123456789"


def test_the_variables_that_may_hold_a_key_are_read_as_they_are_sent() -> None:
    environment = {"BOX_KEY": f" {KEY}\n", "OPENAI_API_KEY": "sk-another-0123", "SHORT": "none"}
    assert secrets_of(AgentSettings(api_key_env="BOX_KEY"), environment.get) == (KEY, "sk-another-0123")
    assert secrets_of(AgentSettings(api_key_env="SHORT"), {"SHORT": "none"}.get) == ()
    assert secrets_of(AgentSettings(), {}.get) == ()


def holds(lab: Lab, word: str) -> list[str]:
    """Return the files that contain a word: files of the lab and of its git, and the objects that git has packed."""
    found = [str(p) for p in lab.root.rglob("*") if p.is_file() and word.encode() in p.read_bytes()]
    listed = ["git", "cat-file", "--batch-all-objects", "--batch"]
    objects = subprocess.run(listed, cwd=lab.root, capture_output=True, check=True).stdout
    return found + (["a git object"] if word.encode() in objects else [])


@pytest.mark.slow
def test_the_key_is_in_no_file_and_no_commit_although_the_server_echoes_it(command_lab: Lab) -> None:
    echoing = coded(
        "X = 4.0  # knob: lin 0 10", f"X = 3.0  # {KEY}\nMARK = 'wonderful'", title=f"use {KEY}", hypothesis=KEY
    )
    with OpenAIServer() as server:
        server.key = KEY
        agent = (
            f'\n[agent]\nname = "chat"\nmodel = "{MODEL}"\nbase_url = "{server.base_url}"\napi_key_env = "BOX_KEY"\n'
        )
        with (command_lab.root / "lab.toml").open("a") as file:
            file.write(agent + "patience_seconds = 5\n")
        server.then(
            fail(429, f"the key {KEY} asks too often", Retry_After="0"),
            say(f"no idea, but your key is {KEY}", reasoning=f"the key is {KEY}"),
            say(echoing),
        )
        done = command_line("run", "--tag", "t", "--experiments", "1", cwd=command_lab.root, BOX_KEY=f"{KEY}\n")
        assert done.returncode == 0, done.stderr
        assert [r.headers["authorization"] for r in server.chats] == [f"Bearer {KEY}"] * 3
        told = [command_line("show", "1", *more, cwd=command_lab.root) for more in ((), ("--prompt",), ("--reply",))]
    assert holds(command_lab, KEY) == []
    assert "a git object" in holds(command_lab, "wonderful"), "the reply that held it was used"
    assert KEY not in done.stdout + done.stderr + "".join(t.stdout + t.stderr for t in told)
    assert "use ***" in told[0].stdout


def test_a_refused_key_is_in_no_file_either(command_lab: Lab) -> None:
    with OpenAIServer() as server:
        server.key = "another-key-altogether"
        (command_lab.root / ".env").write_text("nothing of ours\n")
        with (command_lab.root / "lab.toml").open("a") as file:
            file.write(
                f'\n[agent]\nname = "chat"\nmodel = "m"\nbase_url = "{server.base_url}"\napi_key_env = "BOX_KEY"\n'
            )
        done = command_line("run", "--tag", "t", "--experiments", "2", cwd=command_lab.root, BOX_KEY=KEY)
    assert "Incorrect API key provided" in done.stdout
    assert "into the environment variable BOX_KEY" in done.stdout + done.stderr
    assert KEY not in done.stdout + done.stderr
    assert holds(command_lab, KEY) == []


def test_a_reply_without_a_key_is_left_as_it_is(tmp_path: Path) -> None:
    whole = Reply(CODE, "stop", "voice", reasoning="hm", prompt_tokens=1, completion_tokens=2, load_seconds=0.5)
    answer, file = Calls(Voice(whole), office(tmp_path)).make(1, "proposal", ASK, ["loss curves"])
    assert answer == whole
    assert file is not None
    kept = json.loads((tmp_path / file).read_text())
    assert (kept["reply"], kept["reasoning"], kept["cut"], kept["purpose"]) == (CODE, "hm", ["loss curves"], "proposal")
