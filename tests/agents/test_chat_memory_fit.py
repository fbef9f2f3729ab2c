"""Model and training share one memory: whether the model must be unloaded, and when."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from chat_cases import FACTS, KNOB, MODEL, Voice, away, chat, night, office
from conftest import Recorder
from ollama_server import OllamaModel, OllamaServer
from prompt_cases import experiment, small
from server_behaviours import say

from autoresearch_mlx.agents.chat import Chat
from autoresearch_mlx.agents.chat.memory_fit import GB, LOADED, RESERVE, fit, run_bytes
from autoresearch_mlx.agents.choose_model import open_endpoint
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.experiment import Context, History
from autoresearch_mlx.lab.config import AgentSettings
from autoresearch_mlx.lab.lab import Lab

RUN_MB = 4096.0


def ran(megabytes: float | None = RUN_MB) -> Context:
    """Return a session whose last run took this much memory."""
    last = experiment(1, "discard", 20.0, ran={"peak_memory_mb": megabytes})
    return small(history=History((experiment(0, "keep", 11.0), last), "score", "min"), number=2)


def machine(gigabytes: float | None, said: list[str] | None = None, **settings: Any) -> Office:
    memory = None if gigabytes is None else int(gigabytes * GB)
    return replace(office(None, said, **settings), memory_bytes=memory)


# --- the sum


def test_both_fit_when_model_and_run_leave_a_quarter_free() -> None:
    needed = (10 * LOADED + 4) / (1 - RESERVE)
    model = replace(FACTS, size_bytes=10 * GB)
    assert fit(model, ran().history, machine(needed + 0.01)).fits is True
    assert fit(model, ran().history, machine(needed - 0.01)).fits is False
    assert fit(model, ran().history, machine(32)).words == "model 12.0 + run 4.0 GB against 24.0 of 32 GB"


@pytest.mark.parametrize(
    ("size", "megabytes", "gigabytes", "words"),
    [
        (None, RUN_MB, 64, "the memory of the model is unknown"),
        (GB, None, 64, "the memory of the run is unknown"),
        (GB, RUN_MB, None, "the memory of the machine is unknown"),
        (None, None, None, "the memory of the run and the model and the machine is unknown"),
    ],
)
def test_what_is_unknown_is_said(
    size: int | None, megabytes: float | None, gigabytes: float | None, words: str
) -> None:
    found = fit(replace(FACTS, size_bytes=size), ran(megabytes).history, machine(gigabytes))
    assert (found.fits, found.words) == (None, words)


def test_the_largest_of_the_last_runs_counts() -> None:
    peaks = [9000.0, *[100.0] * 7, 200.0]
    done = [experiment(n, "discard", 20.0, ran={"peak_memory_mb": peak}) for n, peak in enumerate(peaks)]
    assert run_bytes(History(tuple(done), "score", "min")) == 200 * 2**20


# --- when the model is unloaded


@pytest.mark.parametrize(
    ("gigabytes", "keep", "released"),
    [
        (64, "auto", 0),
        (4, "auto", 1),
        (None, "auto", 1),
        (4, True, 0),
        (64, False, 1),
    ],
)
def test_the_model_leaves_when_both_do_not_fit_or_the_settings_say_so(
    gigabytes: float | None, keep: Any, released: int
) -> None:
    voice = Voice(KNOB)
    spent = Chat(voice, machine(gigabytes, keep_loaded=keep)).make_room(ran())
    assert voice.released == released
    assert spent == ({"unload": 0.25} if released else {})


@pytest.mark.parametrize(
    ("gigabytes", "keep", "words"),
    [
        (64, "auto", "stays in memory: model "),
        (4, "auto", "unloads before training: model "),
        (None, "auto", "unloads before training: the memory of the machine is unknown"),
        (4, True, "stays in memory, as keep_loaded says"),
        (64, False, "unloads before training, as keep_loaded says"),
    ],
)
def test_what_the_model_will_do_is_told_beforehand(gigabytes: float | None, keep: Any, words: str) -> None:
    voice = Voice(KNOB)
    told = Chat(voice, machine(gigabytes, keep_loaded=keep)).memory_words(ran().history)
    assert told.startswith(words)
    assert voice.released == 0
    elsewhere = Chat(Voice(KNOB, facts=replace(FACTS, here=False)), machine(4))
    assert elsewhere.memory_words(ran().history) == "takes no memory here"
    assert (
        Chat(Voice(KNOB, facts=away()), machine(4)).memory_words(ran().history).startswith("does not report its memory")
    )


@pytest.mark.parametrize("keep", ["auto", False])
def test_a_model_on_another_machine_is_left_alone(keep: Any) -> None:
    voice = Voice(KNOB, facts=replace(FACTS, here=False))
    assert Chat(voice, machine(4, keep_loaded=keep)).make_room(ran()) == {}
    assert voice.released == 0


def test_a_model_that_will_not_leave_is_said_and_the_night_goes_on() -> None:
    voice, said = Voice(KNOB), list[str]()
    voice.stays = away("hung")
    assert Chat(voice, machine(4, said)).make_room(ran()) == {}
    assert said == ["voice:30b stays in memory: no server answers at 127.0.0.1:1"]


def test_a_server_that_is_away_has_nothing_in_memory() -> None:
    voice, said = Voice(KNOB, facts=away()), list[str]()
    assert chat(voice, None, said).make_room(ran()) == {}
    assert (said, voice.released) == ([], 0)


# --- with Ollama


def loaded(server: OllamaServer, **settings: Any) -> Chat:
    """Return the chat agent of a model that has just answered and is still loaded."""
    with_url = Office(AgentSettings(base_url=server.url, **settings), memory_bytes=64 * GB)
    agent = Chat(open_endpoint(f"ollama:{MODEL}", with_url), with_url)
    server.then(say(KNOB))
    assert agent.propose(small()).files
    return agent


def unloads(server: OllamaServer) -> list[Any]:
    return [request.body.get("keep_alive") for request in server.of("/api/generate")]


def test_ollama_is_told_to_unload_and_waited_for() -> None:
    with OllamaServer(OllamaModel(MODEL, format="safetensors"), OllamaModel("other:1b")) as server:
        agent = loaded(server)
        server.loaded["other:1b"] = 4096
        server.polls_to_unload = 2
        assert agent.make_room(ran(60_000.0))["unload"] > 0
        assert unloads(server) == [0]
        assert server.loaded == {"other:1b": 4096}, "what others loaded is theirs"
        assert agent.make_room(ran(60_000.0)) == {}, "nothing to unload"


def test_ollama_keeps_what_fits() -> None:
    with OllamaServer(OllamaModel(MODEL, format="safetensors")) as server:
        assert loaded(server).make_room(ran()) == {}
        assert unloads(server) == [] and MODEL in server.loaded
        assert server.chats[-1].body["keep_alive"] not in (0, -1)


def test_ollama_runs_some_models_on_other_machines() -> None:
    with OllamaServer(OllamaModel(MODEL, remote_host="https://example.org", format="safetensors")) as server:
        assert loaded(server, keep_loaded=False).make_room(ran()) == {}
        assert unloads(server) == []


def test_the_ledger_tells_what_unloading_took(command_lab: Lab, screen: Recorder) -> None:
    with OllamaServer(OllamaModel(MODEL)) as server:
        server.then(say(KNOB))
        (kept,) = night(command_lab, f"ollama:{MODEL}", screen, base_url=server.url, keep_loaded=False)
    assert kept.status == "keep" and kept.seconds["unload"] > 0
    assert server.loaded == {}
