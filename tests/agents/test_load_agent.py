"""An agent is found by its name, or by the import path of a user's own class."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ollama_server import GB, OllamaModel, OllamaServer
from openai_server import OpenAIServer

from autoresearch_mlx.agents import load_agent
from autoresearch_mlx.agents.chat import Chat
from autoresearch_mlx.agents.hybrid import Hybrid
from autoresearch_mlx.agents.knobs.knobs_agent import Knobs
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.agents.playbook import Playbook
from autoresearch_mlx.agents.scripted import Scripted
from autoresearch_mlx.errors import AgentError
from autoresearch_mlx.experiment import Proposal
from autoresearch_mlx.lab.config import AgentSettings


class Own:
    name = "own"

    def propose(self, context):
        return Proposal("nothing", {})


class Configured(Own):
    def __init__(self, settings):
        self.settings = settings


class Nameless:
    def propose(self, context):
        return Proposal("nothing", {})


class Broken(Own):
    def __init__(self):
        raise RuntimeError("no token")


class Mute:
    name = "mute"


HERE = __name__
OFFICE = Office(AgentSettings(model="m"), seed=7)


def test_knobs_is_known_by_name() -> None:
    assert isinstance(load_agent("knobs", OFFICE), Knobs)


def test_scripted_takes_the_path_behind_the_colon(tmp_path: Path) -> None:
    script = tmp_path / "a:b.jsonl"
    script.write_text('{"title": "deeper", "knobs": {"DEPTH": 5}}\n')
    assert isinstance(load_agent(f"scripted:{script}", OFFICE), Scripted)


def test_a_users_own_class_is_made_without_arguments() -> None:
    assert load_agent(f"{HERE}:Own", OFFICE).name == "own"


def test_a_class_that_takes_settings_gets_them() -> None:
    assert load_agent(f"{HERE}:Configured", OFFICE).settings["model"] == "m"


def test_an_agent_without_a_name_is_called_by_its_path() -> None:
    assert load_agent(f"{HERE}:Nameless", OFFICE).name == f"{HERE}:Nameless"


@pytest.mark.parametrize(
    ("name", "said", "hint"),
    [
        ("knob", "no agent named 'knob'", "did you mean 'knobs'"),
        ("scriptd", "no agent named 'scriptd'", "did you mean 'scripted'"),
        ("zebra", "no agent named 'zebra'", "known agents: auto"),
        ("no_such_module:Agent", "No module named 'no_such_module'", "module:Class"),
        (f"{HERE}:Missing", "Missing", "module:Class"),
        (f"{HERE}:Broken", "RuntimeError: no token", "propose"),
        (f"{HERE}:Mute", "no method propose", "propose"),
        ("scripted:/no/such/file.json", "cannot read the script", "scripted:PATH"),
        ("olama:qwen3:4b", "No module named 'olama'", "did you mean ollama:qwen3:4b?"),
        ("hybird:ollama:m", "No module named 'hybird'", "did you mean hybrid:ollama:m?"),
        ("hybrid:", "no agent named 'hybrid:'", "did you mean 'hybrid'"),
        ("knobs:ollama:m", "no agent named 'knobs:ollama:m'", "hybrid:MODEL"),
        ("ollama", "does not say which server", "ollama:"),
        ("ollama:", "lacks the name of a model", "ollama:MODEL"),
        ("mlx:", "lacks the name of a model", "mlx:MODEL_OR_PATH"),
        ("hybrid:olama:m", "there is no kind of server named 'olama'", "did you mean ollama:m?"),
        ("chat", "'m' does not say which server has the model", "base_url"),
        ("hybrid", "'m' does not say which server has the model", "base_url"),
        ("auto", "'m' does not say which server has the model", "base_url"),
        ("command", "needs the shell line of a coding agent", "claude -p"),
        ("command:claude -p", "needs a session's worktree", "autoresearch-mlx run"),
    ],
)
def test_what_cannot_be_loaded_is_said_with_the_next_step(name: str, said: str, hint: str) -> None:
    with pytest.raises(AgentError) as caught:
        load_agent(name, OFFICE)
    assert said in str(caught.value)
    assert hint in caught.value.hint


def test_importing_agents_imports_no_optimiser() -> None:
    heavy = (
        "import sys, autoresearch_mlx.agents; sys.exit(any(m in sys.modules for m in ('optuna', 'sklearn', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", heavy], check=False).returncode == 0


def office(memory_gb: int = 32, **settings: Any) -> tuple[Office, list[str]]:
    said: list[str] = []
    return Office(AgentSettings(**settings), seed=7, say=said.append, memory_bytes=memory_gb * GB), said


@pytest.mark.parametrize("name", ["ollama:m:7b", "lmstudio:m", "openai:m", "mlx:m"])
def test_a_model_by_its_server_is_a_chat_of_that_name(name: str) -> None:
    agent = load_agent(name, office(base_url="http://127.0.0.1:9/v1")[0])
    assert isinstance(agent, Chat)
    assert agent.name == name


def test_chat_takes_model_and_address_from_the_settings() -> None:
    agent = load_agent("chat", office(model="coder:7b", base_url="http://127.0.0.1:9/v1")[0])
    assert isinstance(agent, Chat) and agent.name == "coder:7b"
    with pytest.raises(AgentError, match="chat needs a model") as caught:
        load_agent("chat", office()[0])
    assert "base_url" in caught.value.hint


def test_hybrid_takes_a_model_by_name_or_from_the_settings() -> None:
    named = load_agent("hybrid:ollama:m:7b", office()[0])
    assert isinstance(named, Hybrid) and named.name == "hybrid"
    settled = load_agent("hybrid", office(model="m", base_url="http://127.0.0.1:9/v1")[0])
    assert isinstance(settled, Hybrid)


def test_hybrid_without_a_name_takes_the_model_of_ollama_that_suits() -> None:
    with OllamaServer(OllamaModel("coder:7b")) as server:
        shared, said = office(base_url=server.url)
        assert isinstance(load_agent("hybrid", shared), Hybrid)
    assert said == [
        "agent: hybrid with ollama:coder:7b: coder:7b is the only suitable model (4.0 GB of 32 GB of memory),"
        f" in Ollama at {server.address}"
    ]


def test_hybrid_without_any_model_is_an_error_that_says_why() -> None:
    with OllamaServer(OllamaModel("coder:30b", 30 * GB)) as server:
        with pytest.raises(AgentError, match=r"hybrid needs a model: .* too much for this machine") as caught:
            load_agent("hybrid", office(16, base_url=server.url)[0])
        assert "hybrid:ollama:MODEL" in caught.value.hint


def test_the_other_names() -> None:
    assert isinstance(load_agent("playbook", OFFICE), Playbook)
    assert load_agent(f"{HERE}:Own", OFFICE).name == "own"


# --- auto


def test_auto_is_hybrid_where_an_ollama_has_a_model_that_suits() -> None:
    with OllamaServer(OllamaModel("coder:7b")) as server:
        shared, said = office(base_url=server.url)
        assert isinstance(load_agent("auto", shared), Hybrid)
    (why,) = said
    assert why.startswith("agent: hybrid with ollama:coder:7b: coder:7b is the only suitable model")


def test_auto_is_the_optimiser_where_no_server_answers() -> None:
    with OllamaServer() as server:
        server.die()
        shared, said = office(base_url=server.url)
        assert isinstance(load_agent("auto", shared), Knobs)
    (why,) = said
    assert why.startswith(f"agent: knobs, no model: no server answers at {server.url}")


def test_auto_is_the_optimiser_where_no_model_suits() -> None:
    with OllamaServer(OllamaModel("coder:30b", 30 * GB)) as server:
        shared, said = office(16, base_url=server.url)
        assert isinstance(load_agent("auto", shared), Knobs)
    (why,) = said
    assert why.startswith("agent: knobs, no model: ") and "coder:30b takes 30.0 GB" in why and "ollama pull" in why


def test_auto_keeps_to_the_model_of_the_settings() -> None:
    with OpenAIServer() as server:
        shared, said = office(base_url=server.base_url, model="tiny-1b")
        assert isinstance(load_agent("auto", shared), Hybrid)
    assert said == ["agent: hybrid with tiny-1b, the model in the settings"]
    assert server.requests == [], "nobody is asked before the night begins"
