"""The form in which a model is asked to write code follows from its size, the settings and earlier errors."""

from __future__ import annotations

from dataclasses import replace

import pytest
from chat_cases import FACTS, KNOB, MISS, NAME, Voice, chat, whole
from prompt_cases import SOLVER, experiment, small

from autoresearch_mlx.agents.chat.ladder import BLOCKS_FROM, first_form, form_now
from autoresearch_mlx.experiment import Context, Experiment, History
from autoresearch_mlx.lab.config import AgentSettings
from autoresearch_mlx.models.wire import ModelFacts

AUTO = AgentSettings()


@pytest.mark.parametrize(
    ("billions", "here", "form"),
    [
        (BLOCKS_FROM, True, "blocks"),
        (30.5, True, "blocks"),
        (BLOCKS_FROM - 0.1, True, "menu"),
        (0.8, False, "menu"),
        (None, True, "menu"),
        (None, False, "blocks"),
    ],
)
def test_a_small_model_begins_with_the_menu(billions: float | None, here: bool, form: str) -> None:
    assert first_form(AUTO, ModelFacts("m", billions=billions, here=here)) == form


@pytest.mark.parametrize("name", ["qwen3-coder:30b", "smollm2-135m", "any"])
def test_the_name_of_a_model_plays_no_part(name: str) -> None:
    assert first_form(AUTO, ModelFacts(name)) == "menu"


@pytest.mark.parametrize("billions", [0.8, 30.5, None])
@pytest.mark.parametrize("form", ["menu", "values", "blocks", "whole"])
def test_the_settings_go_before_the_size_and_before_what_went_wrong(billions: float | None, form: str) -> None:
    settings, facts = AgentSettings(format=form), ModelFacts("m", billions=billions)
    assert form_now(settings, facts, talks(1, 1, 1), NAME) == form


def talks(*mismatches: int | None, agent: str = NAME) -> History:
    """Return a history with one experiment for each number of mismatches; None means another agent's experiment."""
    done = [
        experiment(
            n,
            "discard",
            20.0,
            agent=agent,
            talk={} if m is None else {"agent": agent, "form": "blocks", "calls": 1, "mismatches": m},
        )
        for n, m in enumerate(mismatches, 1)
    ]
    return History((experiment(0, "keep", 11.0), *done), "score", "min")


@pytest.mark.parametrize(
    ("mismatches", "form"),
    [
        ((), "blocks"),
        ((1,), "blocks"),
        ((1, 0, 1), "blocks"),
        ((1, 1), "whole"),
        ((1, None, 3), "whole"),
    ],
)
def test_after_two_experiments_in_a_row_with_mismatches_the_whole_file_comes_next(
    mismatches: tuple[int | None, ...], form: str
) -> None:
    assert form_now(AUTO, FACTS, talks(*mismatches), NAME) == form


def test_the_mismatches_of_another_model_do_not_count() -> None:
    assert form_now(AUTO, FACTS, talks(1, 1, 1, agent="ollama:another"), NAME) == "blocks"


def tried(voice: Voice, context: Context) -> Experiment:
    """Return one experiment of a model that has just been started; its first reply was refused, the second measured."""
    agent = chat(voice)
    proposal = agent.propose(context)
    if proposal.problem:
        proposal = agent.propose(replace(context, feedback=(proposal.problem,)))
    return experiment(context.number, "discard", 20.0, agent=proposal.agent, talk=proposal.talk)


def test_after_two_experiments_with_mismatches_the_whole_file_is_asked_for_also_after_a_restart() -> None:
    voice = Voice(MISS, KNOB, MISS, KNOB, whole(SOLVER.replace("4.0", "3.0")))
    context, forms = small(), []
    for _ in range(3):
        e = tried(voice, context)
        forms.append((e.talk["form"], e.talk["mismatches"], e.talk["repairs"]))
        history = History((*context.history.experiments, e), "score", "min")
        context = replace(context, number=e.number + 1, history=history)
    assert forms == [("blocks", 1, 1), ("blocks", 1, 1), ("whole", 0, 0)]
    assert "the whole new file" in voice.prompt() and "<<<<<<< SEARCH" not in voice.prompt()


def test_a_whole_file_gets_a_reply_that_can_hold_it() -> None:
    text = SOLVER + "# a line that is long enough to count for something\n" * 800
    voice = Voice(KNOB, facts=replace(FACTS, context_tokens=131_072))
    chat(voice, context_tokens=100_000, reply_tokens=1000, format="whole").propose(small(files={"solver.py": text}))
    assert voice.asks[0].max_tokens > len(text) / 3
