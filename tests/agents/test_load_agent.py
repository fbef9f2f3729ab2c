"""An agent is found by its name, or by the import path of a user's own class."""

import subprocess
import sys
from pathlib import Path

import pytest

from autoresearch_mlx.agents import load_agent
from autoresearch_mlx.agents.knobs import Knobs
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.agents.scripted import Scripted
from autoresearch_mlx.config import AgentSettings
from autoresearch_mlx.errors import AgentError
from autoresearch_mlx.experiment import Proposal


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
    ],
)
def test_what_cannot_be_loaded_is_said_with_the_next_step(name: str, said: str, hint: str) -> None:
    with pytest.raises(AgentError) as caught:
        load_agent(name, OFFICE)
    assert said in str(caught.value)
    assert hint in caught.value.hint


def test_importing_agents_imports_no_optimiser() -> None:
    heavy = "import sys, autoresearch_mlx.agents; sys.exit(any(m in sys.modules for m in ('optuna', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", heavy], check=False).returncode == 0
