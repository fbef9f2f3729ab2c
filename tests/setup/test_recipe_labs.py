"""The scripts of the recipes, without the tools that a machine may lack; bench/recipe_nights.py runs whole nights."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from evals_lab import measured
from openai_server import OpenAIServer
from server_behaviours import Behaviour, Received, say

from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.setup.recipes import find_recipe, recipes

pytestmark = pytest.mark.uncounted


def scripts(ending: str) -> list[Path]:
    return sorted(path for path in (ROOT / "recipes").rglob(f"*{ending}") if ".tools" not in path.parts)


@pytest.mark.parametrize("script", scripts(".mjs"), ids=lambda path: str(path.relative_to(ROOT / "recipes")))
def test_each_script_for_node_parses(script: Path) -> None:
    if (node := shutil.which("node")) is None:
        pytest.skip("node is not installed on this machine")
    done = subprocess.run([node, "--check", str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_each_package_that_a_script_takes_from_the_labs_tools_is_installed_with_a_fixed_version() -> None:
    for recipe in recipes():
        files = recipe.files()
        texts = [files[name].decode() for name in files if name.endswith(".mjs")]
        taken = {name for text in texts for name in re.findall(r'package(?:Of|Path)\("([\w-]+)"\)', text)}
        for name in taken:
            assert re.search(rf" {name}@\d+\.\d+\.\d+( |$)", recipe.tools.install or ""), (recipe.name, name)
            assert f"node_modules/{name}/package.json" in recipe.tools.needs


def test_a_check_that_compares_with_the_first_version_begins_with_that_version() -> None:
    lab = find_recipe("pagespeed").folder / "lab"
    first, edited = ({p.name: p.read_text() for p in (lab / name).iterdir()} for name in ("original", "site"))
    assert first == edited


# --- prompt and copy, with a model on a server


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as running:
        yield running


def served(name: str, folder: Path, server: OpenAIServer) -> Lab:
    """Make a recipe's lab that asks the model of this server."""
    for path, data in find_recipe(name).files().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    settings = (folder / "lab.toml").read_text()
    at = f'model = "tiny-1b"\nendpoint = "{server.base_url}"'
    (folder / "lab.toml").write_text(re.sub(r'model = "scripted:model.py"', at, settings, count=1))
    return Lab(folder)


def by_rules(lab: Lab) -> Callable[[Received], Behaviour]:
    """Return the behaviour of a server that answers as the lab's scripted model does."""
    spec = importlib.util.spec_from_file_location("model", lab.root / "model.py")
    assert spec is not None and spec.loader is not None
    model = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(model)
    return lambda received: say(model.reply(received.body["messages"], 0))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "value"), [("prompt", 2 / 21), ("copy", 2 / 13)])
def test_a_model_on_a_server_is_measured_as_the_scripted_one(
    name: str, value: float, tmp_path: Path, server: OpenAIServer
) -> None:
    lab = served(name, tmp_path / "lab", server)
    server.default = by_rules(lab)
    assert measured(lab, tmp_path / "run").value == pytest.approx(value)


@pytest.mark.slow
def test_a_judge_that_prefers_whichever_text_comes_first_gives_no_vote(tmp_path: Path, server: OpenAIServer) -> None:
    def first(received: Received) -> Behaviour:
        said = received.body["messages"][-1]["content"]
        yes, no = re.findall(r"Reply (\w+) for yes, (\w+) for no", said)[0]
        ours_first = said.index("ANSWER, between") < said.index("REFERENCE, between")
        return say(yes if ours_first != ("worse than" in said) else no)

    server.default = first
    assert measured(served("copy", tmp_path / "lab", server), tmp_path / "run").value == 0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Subject: Tools\n\nWe open on 3 May at 12 Harbour Street. You may cancel.", "'36 euros a year' is gone"),
        ("3 May, 12 Harbour Street, cancel. <!-- 36 euros a year -->", "'36 euros a year' is gone"),
        ("3 May, 12 Harbour Street, cancel, 36 euros a year." + " more" * 150, "at most 150 are allowed"),
    ],
)
def test_a_copy_that_lacks_a_fact_or_is_too_long_is_refused(
    text: str, why: str, tmp_path: Path, server: OpenAIServer
) -> None:
    lab = served("copy", tmp_path, server)
    (lab.root / "copy.md").write_text(text)
    done = subprocess.run(
        ["python3", "-c", "import agent; agent.run('', None)"], cwd=lab.root, capture_output=True, text=True
    )
    assert done.returncode == 1 and why in done.stderr


def test_facts_are_found_across_line_ends_and_marks_of_emphasis(tmp_path: Path, server: OpenAIServer) -> None:
    lab = served("copy", tmp_path, server)
    (lab.root / "copy.md").write_text("It costs **36 euros\na year**, from 3 May, 12 harbour street; Cancel at will.")
    line = ["python3", "-c", "import agent; print(agent.run('', None))"]
    assert subprocess.run(line, cwd=lab.root, capture_output=True, text=True).returncode == 0
