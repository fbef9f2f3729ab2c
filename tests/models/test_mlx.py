"""``mlx:`` asks a real mlx_lm.server, a child process that is started for a question and ended before training."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from scripted_model import by_count, by_turn, write_model

from autoresearch_mlx.errors import EndpointError
from autoresearch_mlx.models.mlx import MlxServer
from autoresearch_mlx.models.wire import Ask, Message

CODE = '```python\nX = "a  b"\t# no <thought>\r\n\n```\n'
EDIT = f' {{"title": "wärmer 🙂"}}\n\n{CODE}{"x" * 5000}\n  last line, with a space at its end '
REPLIES = [EDIT, ["no edit at all", "an edit\n", "and a better one"], "third", ""]
IDEAS = "Three ideas:\n1. a wider model\n"
CONTEXT = 20000


def ask(*texts: str, **changes: object) -> Ask:
    """Return a request with a system message, followed by questions and answers in turn."""
    roles = ("user", "assistant")
    talk = [Message(roles[n % 2], text) for n, text in enumerate(texts)]  # type: ignore[arg-type]
    tokens = sum(map(len, texts)) // 4
    whole = Ask((Message("system", "You are a researcher."), *talk), tokens, 1000, 60.0, temperature=0.0)
    return replace(whole, **changes)  # type: ignore[arg-type]


def experiment(number: int) -> str:
    return f"The file is below.\nThis is experiment {number}.\nWhat would you change?"


def servers(model: Path, of: int | None = None) -> list[psutil.Process]:
    """Return the running model servers that a process has started; the default is this process."""
    children = psutil.Process(of).children()
    return [p for p in children if p.status() != psutil.STATUS_ZOMBIE and str(model) in p.cmdline()]


def gone(process: psutil.Process) -> bool:
    """Return whether a process ends within ten seconds, even if no parent collects its exit status."""
    return eventually(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


def eventually(true: Callable[[], bool]) -> bool:
    for _ in range(200):
        if true():
            return True
        time.sleep(0.05)
    return False


def listening(process: psutil.Process) -> int:
    """Return the port on which the server listens."""
    (port,) = {c.laddr.port for c in process.net_connections("tcp4") if c.status == psutil.CONN_LISTEN}
    return int(port)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(
        tmp_path_factory.mktemp("models") / "scripted",
        REPLIES,
        markers={"What else could be tried?": IDEAS},
        context=CONTEXT,
    )


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("session")


@pytest.fixture(scope="module")
def server(model: Path, session: Path) -> Iterator[MlxServer]:
    server = MlxServer(str(model), session)
    yield server
    server.close()


@pytest.mark.parametrize("changes", [{}, {"temperature": 1.5}, {"temperature": 0.7, "seed": 7}], ids=str)
def test_a_reply_comes_through_byte_for_byte(server: MlxServer, changes: dict) -> None:
    reply = server.ask(ask(experiment(1), **changes))
    assert reply.text == EDIT
    assert (reply.finish, reply.reasoning) == ("stop", "")


def test_a_reply_carries_the_servers_counts_and_what_is_known_of_the_model(server: MlxServer, model: Path) -> None:
    reply = server.ask(ask(experiment(2) + "\n" + "word " * 800))
    assert 1000 < reply.prompt_tokens < 1100
    assert reply.completion_tokens == 2
    assert (reply.model, reply.context_tokens) == (str(model), CONTEXT)
    assert reply.think_seconds > 0


def test_the_experiments_number_picks_the_reply_and_a_repair_the_next_one(server: MlxServer) -> None:
    talk = [experiment(2)]
    for expected in ("no edit at all", "an edit\n", "and a better one", "and a better one"):
        assert server.ask(ask(*talk)).text == expected
        talk += [expected, "That was refused."]
    assert server.ask(ask(experiment(3))).text == "third"


def test_a_marker_goes_before_the_number(server: MlxServer) -> None:
    assert server.ask(ask(experiment(1) + " What else could be tried?")).text == IDEAS


def test_a_reply_that_is_too_long_is_cut_and_says_so(server: MlxServer) -> None:
    reply = server.ask(ask(experiment(1), max_tokens=3))
    assert (reply.text, reply.finish) == ("".join(EDIT.splitlines(keepends=True)[:3]), "length")


def test_a_prompt_longer_than_the_context_is_not_sent(server: MlxServer, session: Path) -> None:
    server.ask(ask(experiment(3)))
    log = session / "talks" / "mlx-server.log"
    before = log.read_text().count("POST")
    with pytest.raises(EndpointError, match=f"19500 \\+ 1000 tokens, .* has {CONTEXT}") as caught:
        server.ask(ask(experiment(1), prompt_tokens=19500))
    assert caught.value.kind == "overflow"
    assert "reply_tokens" in caught.value.hint
    assert log.read_text().count("POST") == before


@pytest.mark.slow
def test_release_ends_the_server_and_the_next_question_starts_it_again(server: MlxServer, model: Path) -> None:
    server.ask(ask(experiment(3)))
    assert server.ask(ask(experiment(3))).load_seconds == 0.0
    (running,) = servers(model)
    assert server.release() > 0
    assert not running.is_running()
    assert server.release() is None
    reply = server.ask(ask(experiment(3)))
    assert reply.text == "third"
    assert reply.load_seconds > 0


@pytest.mark.slow
def test_a_server_that_was_killed_is_started_again(server: MlxServer, model: Path) -> None:
    server.ask(ask(experiment(3)))
    (running,) = servers(model)
    running.kill()
    assert gone(running)
    reply = server.ask(ask(experiment(3)))
    assert reply.text == "third"
    assert reply.load_seconds > 0


@pytest.mark.slow
def test_a_server_that_ends_during_the_call_is_named_with_its_end(
    server: MlxServer, model: Path, session: Path
) -> None:
    server.ask(ask(experiment(3)))
    (running,) = servers(model)
    port = listening(running)
    running.suspend()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(server.ask, ask(experiment(3)))
        eventually(lambda: any(c.raddr and c.raddr.port == port for c in psutil.Process().net_connections("tcp4")))
        running.kill()
        with pytest.raises(EndpointError, match=r"ended during the call \(signal 9\)") as caught:
            call.result()
    assert caught.value.kind in ("dropped", "unreachable")
    assert str(session / "talks" / "mlx-server.log") in caught.value.hint
    assert server.ask(ask(experiment(3))).text == "third"


@pytest.mark.slow
def test_a_folder_with_a_damaged_model_fails_with_the_logs_words(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "qwen3"}')
    server = MlxServer(str(tmp_path))
    with pytest.raises(EndpointError, match=r"could not load .* No safetensors found in") as caught:
        server.ask(ask(experiment(1)))
    assert caught.value.kind == "unreachable"
    assert "mlx_lm generate" in caught.value.hint
    assert not servers(tmp_path)


def test_a_start_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", ["a reply"])
    with pytest.raises(EndpointError, match="had not loaded") as caught:
        MlxServer(str(model), seconds_to_start=0.2).ask(ask(experiment(1)))
    assert caught.value.kind == "hung"
    assert not servers(model)


@pytest.mark.slow
def test_a_reply_that_takes_too_long_ends_the_server(tmp_path: Path) -> None:
    lines = 20_000
    model = write_model(tmp_path / "model", ["line\n" * lines, "short"], context=10**6)
    with closing(MlxServer(str(model))) as server:
        server.ask(ask(experiment(2)))
        with pytest.raises(EndpointError) as caught:
            server.ask(ask(experiment(1), max_tokens=2 * lines, seconds=0.5))
        assert caught.value.kind == "hung"
        assert set(caught.value.partial.splitlines()) <= {"line"}
        assert not servers(model)


def test_a_session_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", ["a reply"])
    with pytest.raises(EndpointError, match="cannot be started") as caught:
        MlxServer(str(model), model / "config.json").ask(ask(experiment(1)))
    assert caught.value.hint == "make sure that the session's folder can be written to"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("{}/absent", "there is no model at"),
        ("{}/empty", "config.json cannot be read: No such file"),
        ("{}/file", "is a file"),
        ("{}/damaged", "config.json cannot be read: it is not valid JSON"),
        ("only-a-name", "there is no model at only-a-name"),
        ("org/name--8bit", "there is no model at org/name--8bit"),
    ],
)
def test_what_is_no_model_is_refused_before_anything_starts(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "config.json").write_text("{")
    server = MlxServer(name.format(tmp_path))
    for call in (server.facts, lambda: server.ask(ask("hello"))):
        with pytest.raises(EndpointError, match=said) as caught:
            call()
        assert caught.value.kind == "refused"
        assert "give the folder" in caught.value.hint


@pytest.mark.slow
def test_the_server_dies_with_a_parent_that_is_killed(model: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(model)], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout.readline() == "third\n"
        (running,) = servers(model, parent.pid)
        parent.kill()
        assert gone(running)
    finally:
        parent.kill()
        parent.communicate()


PARENT = """
import sys, time
from autoresearch_mlx.models.mlx import MlxServer
from autoresearch_mlx.models.wire import Ask, Message

ask = Ask((Message("user", "This is experiment 3."),), 10, 100, 60.0)
server = MlxServer(sys.argv[1])
print(server.ask(ask).text, flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_the_other_ways_to_pick_a_reply(tmp_path: Path) -> None:
    for pick, talk in ((by_turn(), ["a", "first", "b"]), (by_count("measured"), ["it was measured", "first", "b"])):
        with closing(MlxServer(str(write_model(tmp_path / "model", ["first", "second"], pick)))) as server:
            assert server.ask(ask(*talk)).text == "second"


def test_facts_come_from_the_files_without_a_server(model: Path) -> None:
    facts = MlxServer(str(model)).facts()
    weights = model / "model.safetensors"
    assert (facts.model, facts.context_tokens, facts.size_bytes) == (str(model), CONTEXT, weights.stat().st_size)
    assert facts.billions == pytest.approx(weights.stat().st_size / 4e9, rel=0.05)  # float32, and a header
    assert (facts.thinks, facts.enforces_schema, facts.here) == (False, False, True)


@pytest.mark.slow
def test_packed_weights_count_as_the_numbers_in_them(tmp_path: Path) -> None:
    import mlx.core as mx

    packed = dict(zip(("a.weight", "a.scales", "a.biases"), mx.quantize(mx.ones((64, 128)), 64, 4), strict=True))
    own = dict(zip(("b.weight", "b.scales", "b.biases"), mx.quantize(mx.ones((32, 64)), 64, 8), strict=True))
    mx.save_safetensors(str(tmp_path / "model.safetensors"), {**packed, **own, "norm.weight": mx.ones(128)})
    quantization = {"group_size": 64, "bits": 4, "b": {"group_size": 64, "bits": 8}}
    config = {"text_config": {"max_position_embeddings": 4096}, "quantization": quantization}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "chat_template.jinja").write_text("{% if enable_thinking %}<think>{% endif %}")
    facts = MlxServer(str(tmp_path)).facts()
    assert facts.billions == (64 * 128 + 32 * 64 + 128) / 1e9
    assert (facts.context_tokens, facts.thinks) == (4096, True)
    index = {"metadata": {"total_parameters": 5_000_000_000}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert MlxServer(str(tmp_path)).facts().billions == 5


@pytest.mark.slow
def test_nothing_is_known_of_a_model_that_is_not_on_this_machine_whatever_its_name_says() -> None:
    facts = MlxServer("no-such-organisation/model-8B-4bit").facts()
    assert (facts.billions, facts.context_tokens, facts.size_bytes, facts.thinks) == (None, None, None, None)
