"""A scripted agent replays the steps of a file; step k belongs to experiment k."""

import json
from pathlib import Path

import pytest

from autoresearch_mlx.agents.scripted import Scripted
from autoresearch_mlx.errors import AgentError
from autoresearch_mlx.experiment import Context, History

FILES = {
    "train.py": "DEPTH = 4\nMATRIX_LR = 0.04\nBETAS = (0.8, 0.95)\nact = relu(x)\n",
    "data.py": "ROWS = 8\nact = relu(x)\n",
}
STEPS = [
    {"title": "deeper", "knobs": {"DEPTH": 5, "BETAS": [0.9, 0.95]}, "rationale": "more layers"},
    {"title": "SiLU", "axis": "mlp", "search": "relu(x)", "replace": "silu(x)", "path": "train.py"},
    {"title": "rewrite", "files": {"data.py": "ROWS = 9\n"}},
]


def context(number: int, *feedback: str) -> Context:
    return Context(number, "", FILES, History((), "val_bpb", "min"), "", 0, feedback)


def script(folder: Path, text: str) -> Scripted:
    path = folder / "steps.jsonl"
    path.write_text(text)
    return Scripted(path)


@pytest.fixture(params=["jsonl", "list", "object"])
def scripted(request: pytest.FixtureRequest, tmp_path: Path) -> Scripted:
    lines = "\n\n".join(json.dumps(step) for step in STEPS)
    texts = {"jsonl": lines, "list": json.dumps(STEPS, indent=1), "object": json.dumps({"steps": STEPS})}
    return script(tmp_path, texts[request.param])


def test_step_k_is_proposed_for_experiment_k_in_any_order(scripted: Scripted) -> None:
    assert [scripted.propose(context(n)).title for n in (3, 1, 2, 1)] == ["rewrite", "deeper", "SiLU", "deeper"]


def test_knobs_are_set_in_the_file_that_has_them(scripted: Scripted) -> None:
    proposal = scripted.propose(context(1))
    assert proposal.files == {"train.py": "DEPTH = 5\nMATRIX_LR = 0.04\nBETAS = (0.9, 0.95)\nact = relu(x)\n"}
    assert (proposal.axis, proposal.rationale, proposal.agent) == ("depth", "more layers", "scripted")


def test_search_and_replace_edits_the_named_file(scripted: Scripted) -> None:
    proposal = scripted.propose(context(2))
    assert proposal.files == {"train.py": FILES["train.py"].replace("relu", "silu")}
    assert proposal.axis == "mlp"


def test_whole_files_are_passed_on(scripted: Scripted) -> None:
    assert scripted.propose(context(3)).files == {"data.py": "ROWS = 9\n"}


def test_a_refused_step_is_proposed_again(scripted: Scripted) -> None:
    assert scripted.propose(context(1, "duplicate of 0")) == scripted.propose(context(1))


@pytest.mark.parametrize("number", [0, 4])
def test_past_its_end_the_script_says_so(scripted: Scripted, number: int) -> None:
    with pytest.raises(AgentError, match="script ended after 3 steps"):
        scripted.propose(context(number))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"title": "a"', "line 2: not JSON"),
        ("[1]", "line 2: not an object but list"),
        ('{"knobs": {"DEPTH": 5}}', "line 2: field 'title' is missing"),
        ('{"title": 5, "knobs": {"DEPTH": 5}}', "line 2: field 'title' must be text"),
        ('{"title": "a", "knob": {"DEPTH": 5}}', "line 2: unknown field 'knob'"),
        ('{"title": "a", "knobs": []}', "line 2: field 'knobs' must be an object"),
        ('{"title": "a", "files": {"a.py": 5}}', "line 2: field 'files' must map paths to texts"),
        ('{"title": "a"}', "line 2: one of 'knobs', 'files', 'search' is needed, found none"),
        ('{"title": "a", "search": "b"}', "line 2: field 'replace' is missing"),
        ('{"title": "a", "search": "b", "replace": "c", "files": {"a": "b"}}', "found files, search"),
    ],
)
def test_a_malformed_step_is_named_by_line_and_field(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(AgentError, match=said):
        script(tmp_path, json.dumps(STEPS[0]) + "\n" + line + "\n")


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"knobs": {"WIDTH": 5}}, "no editable file has the knob WIDTH"),
        ({"knobs": {"DEPTH": 5}, "path": "data.py"}, "data.py has no knob DEPTH"),
        ({"search": "relu(x)", "replace": ""}, "2 files have the text"),
        ({"search": "gelu", "replace": ""}, "no editable file has the text"),
        ({"search": "=", "replace": "", "path": "train.py"}, "'search' occurs 4 times in train.py"),
        ({"search": "=", "replace": "", "path": "gone.py"}, "'path' 'gone.py' is not an editable file"),
    ],
)
def test_a_step_that_does_not_fit_the_files_is_named(tmp_path: Path, step: dict, said: str) -> None:
    agent = script(tmp_path, json.dumps({"title": "a", **step}))
    with pytest.raises(AgentError, match=said) as caught:
        agent.propose(context(1))
    assert "step" in str(caught.value) or "line 1" in str(caught.value)
