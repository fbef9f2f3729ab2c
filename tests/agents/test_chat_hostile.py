"""Whatever a model answers, no error is raised and only the editable files can change."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from agents.test_edits_hostile import TWO, mutated
from chat_cases import FACTS, Voice, chat, reply
from prompt_cases import small

from autoresearch_mlx.experiment import Context, Proposal
from autoresearch_mlx.models.wire import Ask, Finish, Reply
from autoresearch_mlx.store.talks import calls_of

pytestmark = pytest.mark.uncounted


class Rambler(Voice):
    """A model that answers with random text, and ends its answers in random ways."""

    def __init__(self, seed: int, schema: bool) -> None:
        super().__init__("", facts=replace(FACTS, enforces_schema=schema))
        self.chance = random.Random(seed)

    def ask(self, ask: Ask) -> Reply:
        self.asks.append(ask)
        ends: list[Finish] = ["stop", "unknown", "length", "refused"]
        finish = self.chance.choices(ends, (20, 2, 1, 1))[0]
        count = self.chance.choice([None, 0, 7])
        return reply(mutated(self.chance), finish=finish, completion_tokens=count, reasoning=mutated(self.chance)[:9])


def follows_the_rules(proposal: Proposal, context: Context) -> None:
    assert bool(proposal.files) != bool(proposal.problem)
    assert proposal.files.keys() <= context.files.keys()
    assert all(text != context.files[path] for path, text in proposal.files.items())
    assert proposal.agent == "voice:30b" and proposal.title


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("schema", [True, False])
def test_a_thousand_replies_in_one_conversation(schema: bool) -> None:
    voice = Rambler(21, schema)
    agent, context = chat(voice), small(files=TWO)
    proposal = agent.propose(context)
    outcomes = {"files": 0, "problem": 0}
    while len(voice.asks) < 1000:
        follows_the_rules(proposal, context)
        outcomes["files" if proposal.files else "problem"] += 1
        asked = len(voice.asks)
        proposal = agent.propose(replace(context, feedback=(proposal.problem or "measured before",)))
        if len(voice.asks) == asked:  # after two replies that ran on, the model is asked no more for this experiment
            context = replace(context, number=context.number + 1)
            proposal = agent.propose(context)
    assert min(outcomes.values()) > 50, outcomes
    assert all(ask.prompt_tokens + ask.max_tokens <= 32_768 for ask in voice.asks)


@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")
def test_a_hundred_conversations_are_written_down_and_opened_with_any_answer(tmp_path: Path) -> None:
    voice, context = Rambler(22, True), small(files=TWO, number=3)
    agent = chat(voice, tmp_path, proposals=2)
    for number in range(3, 103):
        follows_the_rules(agent.propose(replace(context, number=number)), context)
    kept = [call for number in range(3, 103) for call in calls_of(tmp_path, number)]
    assert len(kept) == len(voice.asks)
    for call in kept:
        assert isinstance(call["reply"], str) and call["messages"]
