"""An agent answers in a sandbox: it reaches the model and the tools, but not the cases or anything else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from evals_lab import EXAMPLE, example_lab, ids, measured, small_lab, target_of, traces
from openai_server import OpenAIServer
from server_behaviours import fail, say

from autoresearch_mlx.errors import ConfigError, EndpointError
from autoresearch_mlx.experiment import Assignment, Progress
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.trial.sandbox.detect import Sandbox

ECHO = "def run(question, tools):\n    return question\n"
DEV, GUARD, HIDDEN = ids("dev", 4), ids("guard", 2), ids("hidden", 3)


def cases(*answers: str) -> list[dict[str, Any]]:
    """Return one dev case for each answer, and some guard and hidden ones that an echo passes."""
    dev = [
        {"id": i, "input": f"q{n}", "check": {"exact": a}} for n, (i, a) in enumerate(zip(DEV, answers, strict=False))
    ]
    return dev + [{"id": i, "input": i, "check": {"exact": i}} for i in (*GUARD, *HIDDEN)]


def agent(*lines: str) -> str:
    return "def run(question, tools):\n" + "".join(f"    {line}\n" for line in lines)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return example_lab(tmp_path_factory.mktemp("evals") / "lab")


@pytest.mark.slow
def test_the_value_is_the_mean_over_dev_cases_and_guard_cases_stand_apart(tmp_path: Path, sandbox: Sandbox) -> None:
    lab = small_lab(tmp_path / "lab", ECHO, cases("q0", "no", "q2", "no"), repeats=2)
    done = measured(lab, tmp_path / "run")
    assert (done.value, done.failure) == (0.5, None), done.reason
    assert done.extra["cases"] == {DEV[0]: 1.0, DEV[1]: 0.0, DEV[2]: 1.0, DEV[3]: 0.0}
    assert done.extra["guard"] == dict.fromkeys(GUARD, 1.0)
    assert done.extra["secondary"]["errors"]["value"] == 0
    assert len(traces(tmp_path / "run")) == 8 and not {t["id"] for t in traces(tmp_path / "run")} & {*GUARD, *HIDDEN}


def test_hidden_cases_run_for_a_certificate_alone(tmp_path: Path, sandbox: Sandbox) -> None:
    lab = small_lab(tmp_path / "lab", ECHO, cases("q0"))
    done = measured(lab, tmp_path / "run", "hidden")
    assert done.value == 1 and set(done.extra["cases"]) == set(HIDDEN)
    assert done.log is None and not (tmp_path / "run" / "traces.jsonl").exists()


@pytest.mark.slow
def test_model_and_tools_are_reached_through_the_harness_which_counts_them(tmp_path: Path, sandbox: Sandbox) -> None:
    text = agent("said = tools.model(question)", "return tools.shout(text=said)")
    lab = small_lab(tmp_path / "lab", text, cases("HEARD Q0 WITH 7"))
    done = measured(lab, tmp_path / "run")
    (told,) = traces(tmp_path / "run")
    assert (done.value, told["calls"], told["tool_calls"]) == (1.0, 1, 1), told
    assert told["steps"][1] == {"tool": "shout", "arguments": {"text": "heard q0 with 7"}, "result": "HEARD Q0 WITH 7"}


@pytest.mark.slow
def test_what_an_agent_says_of_its_own_use_is_not_read(tmp_path: Path, sandbox: Sandbox) -> None:
    text = agent("return {'answer': question, 'tools_used': ['shout'], 'calls': 99, 'score': 1.0}")
    done = measured(small_lab(tmp_path / "lab", text, cases("q0")), tmp_path / "run")
    assert (done.value, done.extra["tool_calls"], done.extra["model_calls"]) == (0.0, 0, 0)


@pytest.mark.slow
def test_the_cases_cannot_be_read(tmp_path: Path, sandbox: Sandbox) -> None:
    lab = tmp_path / "lab"
    inside = [lab, lab / "cases.jsonl", lab / "model.py", EXAMPLE / "cases.jsonl", "../cases.jsonl", "/etc/shadow"]
    text = "import os\n" + agent(
        "found = []",
        f"for place in {list(map(str, inside))!r}:",
        "    try:\n            found.append(repr(os.listdir(place) if os.path.isdir(place) else open(place).read()))",
        "    except OSError as error:\n            found.append(type(error).__name__)",
        "return found",
    )
    done = measured(small_lab(lab, text, cases("none")), tmp_path / "run")
    (told,) = traces(tmp_path / "run")
    assert done.value == 0 and len(told["answer"]) == len(inside), told
    assert set(told["answer"]) <= {"PermissionError", "FileNotFoundError"}, told


@pytest.mark.slow
def test_only_the_port_of_the_harness_is_reached(tmp_path: Path, sandbox: Sandbox) -> None:
    with OpenAIServer() as elsewhere:
        text = "import socket\n" + agent(
            f"try:\n        socket.create_connection(('127.0.0.1', {elsewhere.url.rpartition(':')[2]}), 2)",
            "except OSError as error:\n        return type(error).__name__",
            "return 'connected'",
        )
        measured(small_lab(tmp_path / "lab", text, cases("PermissionError")), tmp_path / "run")
    assert traces(tmp_path / "run")[0]["answer"] == "PermissionError"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loop", "options", "field", "most"),
    [
        ("tools.model('hi')", {"calls": 3}, "calls", 3),
        ("tools.shout(text='hi')", {"tool_calls": 2}, "tool_calls", 2),
        ("tools.model('hi there ' * 10)", {"tokens": 50}, "tokens", 90),
    ],
)
def test_the_budget_stops_a_case_in_the_middle(
    loop: str, options: dict[str, Any], field: str, most: int, tmp_path: Path, sandbox: Sandbox
) -> None:
    text = agent("while True:", f"    {loop}")
    done = measured(small_lab(tmp_path / "lab", text, cases("q0"), **options), tmp_path / "run")
    (told,) = traces(tmp_path / "run")
    assert "BudgetSpent: the budget of this case" in told["error"] and "is used up" in told["refused"]
    assert 0 < told[field] <= most and done.value == 0 and done.extra["over_budget"] == 1


@pytest.mark.slow
def test_a_case_that_takes_too_long_fails_alone(tmp_path: Path, sandbox: Sandbox) -> None:
    text = "import time\n" + agent("time.sleep(9 if question == 'q1' else 0)", "return question")
    done = measured(small_lab(tmp_path / "lab", text, cases("q0", "q1", "q2"), seconds=0.8), tmp_path / "run")
    assert done.extra["cases"] == {DEV[0]: 1.0, DEV[1]: 0.0, DEV[2]: 1.0}
    assert "no answer within 0.8 s" in traces(tmp_path / "run")[1]["error"]


def test_an_agent_that_cannot_be_imported_is_a_crash(tmp_path: Path, sandbox: Sandbox) -> None:
    done = measured(small_lab(tmp_path / "lab", "import nothing_here\n" + ECHO, cases("q0")), tmp_path / "run")
    assert (done.value, done.failure) == (None, "crash") and "ModuleNotFoundError" in done.reason


@pytest.mark.slow
def test_what_an_agent_does_wrong_in_a_case_is_data(tmp_path: Path, sandbox: Sandbox) -> None:
    text = "import os\n" + agent(
        "if question == 'q0': os._exit(3)",
        "if question == 'q1': raise KeyError('x')",
        "return {1, 2} if question == 'q2' else 'x' * 100_000",
    )
    done = measured(small_lab(tmp_path / "lab", text, cases("a", "b", "c", "d")), tmp_path / "run")
    errors = [told["error"] for told in traces(tmp_path / "run")]
    said = [
        "ended with exit code 3 before the agent had answered",
        "KeyError: 'x'",
        "TypeError",
        "longer than 60,000 bytes",
    ]
    assert done.value == 0 and done.extra["secondary"]["errors"]["value"] == 1
    assert all(words in error for words, error in zip(said, errors, strict=True)), errors


@pytest.mark.slow
def test_an_answer_that_no_file_can_hold_is_a_wrong_answer(tmp_path: Path, sandbox: Sandbox) -> None:
    """Half of a surrogate pair, a process that ends without answering, and a request with NaN fail one case each."""
    text = "import os\n" + agent(
        "if question == 'q0': return chr(0xD800)",
        "if question == 'q1': os._exit(0)",
        "return question if question == 'q3' else {}['\\udfff']",
    )
    done = measured(small_lab(tmp_path / "lab", text, cases("q0", "q1", "q2", "q3"), seconds=30.0), tmp_path / "run")
    told = traces(tmp_path / "run")
    assert [each["score"] for each in told] == [0, 0, 0, 1] and done.failure is None
    assert (told[0]["answer"], told[1]["error"]) == (
        "?",
        "its process ended with exit code 0 before the agent had answered",
    )
    assert done.seconds.train is not None and done.seconds.train < 25


@pytest.mark.slow
def test_no_memory_carries_over_from_case_to_case(tmp_path: Path, sandbox: Sandbox) -> None:
    text = "SEEN = []\n" + agent("SEEN.append(question)", "return str(len(SEEN))")
    assert measured(small_lab(tmp_path / "lab", text, cases("1", "1", "1")), tmp_path / "run").value == 1


@pytest.mark.slow
def test_a_check_that_an_answer_keeps_busy_is_ended(tmp_path: Path, sandbox: Sandbox) -> None:
    lab = small_lab(tmp_path / "lab", ECHO, cases("q0"))
    (lab.root / "checks.py").write_text("def wrong(answer, case):\n    raise ValueError(answer)\n")
    with (lab.root / "cases.jsonl").open("a") as file:
        check = {"python": "checks.py:wrong"}
        file.write(json.dumps({"id": DEV[1], "input": "q1", "check": check}) + "\n")
    done = measured(lab, tmp_path / "run")
    assert done.value == 0.5 and "ValueError: q1" in traces(tmp_path / "run")[1]["why"]


# --- a model on a server


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        server.default = say("fine")
        yield server


def served(tmp_path: Path, server: OpenAIServer, text: str = "", **options: Any) -> Lab:
    text = text or agent("return tools.model(question, model='gpt-huge', temperature=2, seed=1, max_tokens=9)")
    at = {"model": "tiny-1b", "endpoint": server.base_url, "patience_seconds": 0.5, **options}
    return small_lab(tmp_path / "lab", text, cases("fine", "fine"), **at)


@pytest.mark.slow
def test_model_temperature_and_seed_are_pinned(server: OpenAIServer, tmp_path: Path, sandbox: Sandbox) -> None:
    done = measured(served(tmp_path, server), tmp_path / "run")
    assert done.value == 1 and done.extra["secondary"]["tokens"]["value"] > 0
    bodies = [request.body for request in server.requests if request.path.endswith("completions")]
    pinned = {(b["model"], b["temperature"], b["seed"], b["max_tokens"], b["stream"]) for b in bodies}
    assert pinned == {("tiny-1b", 0.0, 7, 9, False)}


@pytest.mark.slow
def test_a_server_that_fails_for_a_moment_costs_nothing(server: OpenAIServer, tmp_path: Path, sandbox: Sandbox) -> None:
    server.then(fail(503, "loading"), fail(500, "oops"))
    done = measured(served(tmp_path, server), tmp_path / "run")
    assert done.value == 1 and [told["calls"] for told in traces(tmp_path / "run")] == [1, 1]


@pytest.mark.slow
def test_a_request_that_cannot_be_sent_is_the_agents_fault(
    server: OpenAIServer, tmp_path: Path, sandbox: Sandbox
) -> None:
    text = agent("return tools.model([{'role': 'user', 'content': chr(0xD800) if question == 'q0' else float('nan')}])")
    done = measured(served(tmp_path, server, text), tmp_path / "run")
    assert [told["calls"] for told in traces(tmp_path / "run")] == [1, 1]
    assert all("cannot be sent" in told["error"] for told in traces(tmp_path / "run")[1:]) and done.failure is None


@pytest.mark.parametrize("choices", [[1], {"a": 1}, [{"message": None}], [{"text": "fine"}]])
def test_a_reply_without_a_message_is_the_servers_fault(choices: object) -> None:
    from autoresearch_mlx.targets.evals.upstream import is_reply

    assert not is_reply({"choices": choices})


def test_a_server_that_stays_away_ends_the_run_and_not_the_experiment(tmp_path: Path, sandbox: Sandbox) -> None:
    with OpenAIServer() as server:
        lab = served(tmp_path, server)
    waited: list[Progress] = []
    (run := tmp_path / "run").mkdir()
    with pytest.raises(EndpointError, match="the model's server does not answer"):
        target_of(lab).measure(Assignment(lab.root, run, 7, waited.append))
    assert any(progress.phase == "waiting" and progress.words for progress in waited)


def test_a_wrong_model_name_is_an_error_with_the_next_step(
    server: OpenAIServer, tmp_path: Path, sandbox: Sandbox
) -> None:
    server.default = fail(404, "no such model")
    with pytest.raises(ConfigError, match="answered 404 for the model 'tiny-1b'"):
        measured(served(tmp_path, server), tmp_path / "run")


# --- what a session fixes


def test_changed_cases_are_refused(shared: Lab, tmp_path: Path) -> None:
    from autoresearch_mlx.targets.evals.conditions import parts_of

    target = target_of(shared)
    parts_of(target.conditions, shared.root)
    other = example_lab(tmp_path / "lab")
    with (other.root / "cases.jsonl").open("a") as file:
        file.write('{"id": "new", "input": 1, "check": {"exact": "1"}}\n')
    with pytest.raises(ConfigError, match="have changed since the session began"):
        parts_of(target.conditions, other.root)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": ""}, "model is missing"),
        ({"model": "qwen3:4b"}, "not the address of a server"),
        ({"dev_share": 0.9}, "their sum at most 1"),
        ({"calls": 0}, "must be above 0"),
        ({"entry": "agent.run"}, "not FILE.py:FUNCTION"),
        ({"tools": "nowhere.py"}, "cannot be read"),
        ({"tools": "lab.toml"}, "it is not a Python file"),
        ({"model": "scripted:"}, "name the file of the model"),
        ({"model": "scripted:tools.py"}, "it has no reply(), the scripted model"),
        ({"model": "m", "endpoint": "http://[::1"}, "not the address of a server"),
        ({"entry": "../x.py:run"}, "not FILE.py:FUNCTION"),
        ({"repeats": 10**12}, "at most 1000"),
        ({"tokens_limit": -1.0}, "tokens_limit is -1"),
        ({"cases": "~nobody-here/x"}, "not a path"),
        ({"cases": "nowhere.jsonl"}, "the cases cannot be read"),
        ({"turns": 3}, "has no option target.options.turns"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    lab = small_lab(tmp_path / "lab", ECHO, cases("q0"), **options)
    with pytest.raises(ConfigError) as caught:
        target_of(lab)
    assert said in str(caught.value)


def test_the_sandbox_is_tried_with_the_cases(shared: Lab, sandbox: Sandbox) -> None:
    target = target_of(shared)
    assert target.unconfined_because([shared.root / "lab.toml"]) is None
    open_ = target.without_sandbox("a test")
    assert "could read the hidden cases" in (open_.certify_refused() or "")
