"""The whole prompt: its text, and the parts that are cut when it does not fit."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from prompt_cases import experiment, night, small

from autoresearch_mlx.agents.edits.example import example_for
from autoresearch_mlx.agents.edits.reply import read_reply
from autoresearch_mlx.agents.knobs.state_summary import describe_state
from autoresearch_mlx.agents.prompt import answer
from autoresearch_mlx.agents.prompt.answer import Form
from autoresearch_mlx.agents.prompt.brief import Brief, agent_brief, ask_for_code, repair, write_brief
from autoresearch_mlx.agents.prompt.tokens import estimate
from autoresearch_mlx.errors import AgentError
from autoresearch_mlx.experiment import Context, History
from autoresearch_mlx.lab.source import literal

GOLDEN = Path(__file__).parent / "golden"
ALL = 10**6


def written(context: Context, room: int = ALL, **asked: object) -> Brief:
    return write_brief(context, room, asked.pop("form", "blocks"), optimiser=describe_state(context), **asked)  # type: ignore[arg-type]


def text_of(brief: Brief) -> str:
    cut = ", ".join(brief.cut) or "nothing"
    return f"[system]\n{brief.system}\n\n[user]\n{brief.user}\n\n[{brief.tokens} tokens, cut: {cut}]\n"


def without_file(text: str, context: Context) -> str:
    """Replace the script and program.md, which are long, by a line that names their place."""
    for body, name in [(next(iter(context.files.values())), "train_mlx.py"), (context.program, "program.md")]:
        assert text.count(body) == 1
        text = text.replace(body, f"... the whole {name} ...\n")
    return text


def test_the_prompt_of_a_small_lab() -> None:
    assert text_of(written(small())) == (GOLDEN / "prompt_small.txt").read_text()


def test_the_prompt_of_a_night_with_everything_in_it() -> None:
    context = night()
    found = without_file(text_of(written(context)), context)
    told = found.rsplit("\n\n[", 1)[0]  # the count depends on the script's own length
    assert told + "\n" == (GOLDEN / "prompt_night.txt").read_text()


def test_the_prompt_for_a_coding_agent() -> None:
    assert agent_brief(small(notes=("no negative numbers",))) == (GOLDEN / "prompt_agent.txt").read_text()


def test_the_same_context_gives_the_same_prompt() -> None:
    assert written(night()) == written(night())


def test_the_number_of_the_experiment_stands_on_a_line_of_its_own() -> None:
    assert "This is experiment 27." in written(night()).user.splitlines()
    assert "This is experiment 27." in agent_brief(night()).splitlines()


def test_what_seldom_changes_comes_first() -> None:
    """A server that reuses the beginning of a prompt reads the file once, however many experiments follow."""
    one = written(night())
    later = replace(night(), number=28, history=History(night().history.experiments[:-1], "val_bpb", "min"), notes=())
    two = written(later)
    file = next(iter(night().files.values()))
    end = one.user.index(file) + len(file)
    assert one.system == two.system
    assert one.user[:end] == two.user[:end]


def test_the_file_stands_in_it_exactly_as_it_is() -> None:
    text = 'PROMPT = """\n```python\nx = 1\n```\n"""\n\tTAB = "<|im_end|>"\n'
    user = written(small(files={"solver.py": text})).user
    assert f"````python\n{text}````" in user


def test_a_task_replaces_the_usual_one() -> None:
    task = "Combine experiments 16 and 18."
    user = written(night(), task=task).user
    assert f"This is experiment 27.\n{task}" in user
    assert "Propose one change" not in user


def test_an_older_version_is_named_as_such() -> None:
    context = night()
    assert "as of experiment 13, the best so far" in written(context).user
    assert "as of experiment 5, an older version" in written(replace(context, files=context.read("c5"))).user
    assert "in an older version" in written(replace(context, files={"train_mlx.py": "X = 1\n"})).user


@pytest.fixture(scope="module")
def briefs() -> dict[int, Brief]:
    """Return the prompts of one night, for each limit on their length under which a prompt fits."""
    found, context = {}, night()
    state = describe_state(context)
    for room in range(8000, 13500, 250):
        with contextlib.suppress(AgentError):
            found[room] = write_brief(context, room, "blocks", optimiser=state)
    return found


@pytest.mark.uncounted
class TestCutting:
    EXPECTED = (
        "loss curves",
        "H100 results",
        "10 older experiments",
        "logs of failures",
        "code of failures",
        "state of the optimiser",
        "tries by axis",
        "the second half of program.md",
        "6 older experiments",
        "failures",
        "another quarter of program.md",
        "1 older note",
        "4 older experiments",
        "the rest of program.md",
    )

    def test_with_room_for_all_nothing_is_cut(self) -> None:
        assert written(night()).cut == ()

    def test_the_order_is_that_of_the_docs_and_each_cut_is_named(self, briefs: dict[int, Brief]) -> None:
        assert briefs[min(briefs)].cut[: len(self.EXPECTED)] == self.EXPECTED[: len(briefs[min(briefs)].cut)]
        assert all(brief.cut == self.EXPECTED[: len(brief.cut)] for brief in briefs.values())
        assert len(briefs[min(briefs)].cut) >= 12

    def test_the_estimate_never_exceeds_the_room(self, briefs: dict[int, Brief]) -> None:
        for room, brief in briefs.items():
            assert brief.tokens == estimate(brief.system) + estimate(brief.user) <= room

    def test_less_room_never_adds_text(self, briefs: dict[int, Brief]) -> None:
        rooms = sorted(briefs)
        for less, more in pairwise(rooms):
            assert len(briefs[less].user) <= len(briefs[more].user)
            assert briefs[more].cut == briefs[less].cut[: len(briefs[more].cut)]

    def test_every_cut_shortens_the_prompt(self) -> None:
        """A note about a missing part must be shorter than the part, even if there is little to cut."""
        history = tuple(experiment(n, "discard", 1.0, title="t", gain=0.0) for n in range(11))
        context = small(program="a\nb\n", history=History(history, "score", "min"), notes=("one", "two"))
        tokens, room = [], ALL
        while True:
            try:
                brief = written(context, room)
            except AgentError:
                break
            tokens.append(brief.tokens)
            room = brief.tokens - 1
        assert len(tokens) > 3
        assert tokens == sorted(tokens, reverse=True)

    def test_file_task_newest_note_and_the_way_to_answer_are_never_cut(self, briefs: dict[int, Brief]) -> None:
        for brief in briefs.values():
            assert next(iter(night().files.values())) in brief.user
            assert "This is experiment 27." in brief.user
            assert "leave the tokenizer and the softcap alone" in brief.user
            assert "<<<<<<< SEARCH" in brief.user
            assert "1.737100" in brief.user

    def test_a_log_is_never_shown_without_the_code_that_wrote_it(self, briefs: dict[int, Brief]) -> None:
        for brief in briefs.values():
            assert "AttributeError: module" not in brief.user or "Reason:" in brief.user
            assert "end of its log" not in brief.user or "```diff" in brief.user

    def test_a_file_that_does_not_fit_is_an_error_with_both_numbers_and_the_remedy(self) -> None:
        with pytest.raises(AgentError) as caught:
            written(night(), 4096)
        file = estimate(next(iter(night().files.values())))
        assert f"of which {file:,} are the text of train_mlx.py" in str(caught.value)
        assert "room for 4,096" in str(caught.value)
        assert "context_tokens" in caught.value.hint

    def test_what_is_not_there_is_not_cut(self) -> None:
        context = small()
        least = written(context, written(context).tokens - 1)
        assert least.cut == ("state of the optimiser",)


class TestAnswers:
    @pytest.mark.parametrize("form", ["blocks", "whole"])
    @pytest.mark.parametrize("context", [small(), night()], ids=["small", "night"])
    def test_the_example_changes_a_knob_of_the_lab_and_its_copy_is_refused(self, form: Form, context: Context) -> None:
        found = example_for(context.files)
        assert found is not None and found.after != found.before
        shown = answer.example(context.files, found, form, "all")
        assert shown in written(context, form=form).user
        (edit,) = read_reply(shown, context.files)
        assert "only the example" in edit.problem and found.title in edit.problem
        other = shown.replace(literal(found.after), literal(found.before * 0.9))
        assert not read_reply(other, context.files)[0].problem, "any other value is a proposal"

    @pytest.mark.parametrize("form", ["blocks", "whole"])
    def test_a_lab_without_knobs_sees_an_example_about_another_program(self, form: Form) -> None:
        context = small(files={"solver.py": "print(1)\n"})
        shown = answer.other_example(form)
        assert shown in written(context, form=form).user
        (edit,) = read_reply(shown, {"coffee.py": answer.EXAMPLE_FILE})
        assert edit.files["coffee.py"] == answer.EXAMPLE_FILE.replace("[water]", "[water / 2, water / 2]")
        assert "pour" not in edit.title and edit.axis is None, "words of the example are nobody's own"
        assert read_reply(shown, context.files)[0].problem

    def test_the_example_of_the_fields_is_a_change_of_a_knob(self) -> None:
        shown = next(line for line in written(small(), asks="fields").user.splitlines() if line.startswith('{"title"'))
        (edit,) = read_reply(shown, small().files)
        assert "only the example" in edit.problem

    @pytest.mark.parametrize(
        ("text", "wild"),
        [
            ("TIED = False  # knob: choice False True\n", False),
            ("N = 2  # knob: int 1 4\n", False),
            ("N = 1024  # knob: pow2 256 1048576\n", True),
            ("RATE = 0.04  # knob: log 0.004 0.4\n", True),
        ],
    )
    def test_the_example_never_takes_a_value_that_is_worth_a_try(self, text: str, wild: bool) -> None:
        found = example_for({"a.py": text})
        assert found is not None and (found.after != found.before) is wild

    def test_the_fields_alone_are_asked_for_in_the_first_of_two_calls(self) -> None:
        user = written(small(), asks="fields").user
        assert "SEARCH" not in user and "NAME" not in user
        assert "a list of objects with name and value" in user
        assert "the code is asked for next" in user

    def test_several_proposals_must_differ(self) -> None:
        user = written(small(), proposals=3).user
        assert "Send 3 proposals" in user
        assert "differ in their axis" in user

    def test_a_whole_file_is_asked_for_in_its_own_words(self) -> None:
        user = written(small(), form="whole").user
        assert "every line of it" in user
        assert "SEARCH" not in user

    def test_a_program_without_constants_hears_nothing_of_knobs(self) -> None:
        files = {"solver.py": "print(1)\n"}
        user = written(small(files=files)).user.split("# How to answer")[1]
        assert "knobs:" not in user

    def test_the_code_is_asked_for_with_the_idea_that_it_is_for(self) -> None:
        said = ask_for_code('{"title": "pour twice"}', "blocks")
        assert "pour twice" in said
        assert "SEARCH" in said
        assert "SEARCH" not in ask_for_code('{"title": "pour twice"}', "whole")

    def test_a_repair_tells_the_error_and_what_to_send(self) -> None:
        said = repair("The block at line 3 fits nowhere.\n```\nfake\n```", "blocks")
        assert "fits nowhere" in said
        assert said.count("```") == 2
        assert "the JSON object, then the code" in said

    def test_a_repair_has_an_end_however_long_the_error(self) -> None:
        assert len(repair("x" * 100_000, "whole")) < 8000
