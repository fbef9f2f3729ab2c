"""The form in which a model is asked follows from its own experiments in the ledger."""

from __future__ import annotations

from typing import Any

import pytest
from prompt_cases import experiment

from autoresearch_mlx.experiment import Experiment, History
from autoresearch_mlx.store.forms import CLIMB, LADDER, PATIENCE, REST, TRIAL, asked_of, rung_after, rung_words, tallies

NAME = "voice"


def asked(form: str, status: str = "discard", number: int = 1, **talk: Any) -> Experiment:
    """Return an experiment for which the model answered; an invalid one measured nothing."""
    told = {"agent": NAME, "form": form, "calls": 1, "repairs": 0, "mismatches": 0, **talk}
    value = None if status in ("invalid", "duplicate") else 20.0
    made = experiment(number, status, value, agent=NAME, talk=told)
    return made if value is not None else experiment(number, status, None, agent=NAME, talk=told, measurements=())


def after(*done: Experiment, first: str = "menu") -> str:
    return rung_after(first, list(done))  # type: ignore[arg-type]


def test_a_model_begins_where_it_is_put() -> None:
    assert [after(first=form) for form in LADDER] == list(LADDER)


def climbed(status: str, count: int) -> list[str]:
    """Return the form of each of the experiments, all of which end with this status."""
    rungs: list[str] = []
    done: list[Experiment] = []
    for _ in range(count):
        rungs.append(after(*done))
        done.append(asked(rungs[-1], status))
    return rungs


def test_keeps_measured_at_the_first_reply_lead_up_to_blocks_and_no_higher() -> None:
    rungs = climbed("keep", 4 * CLIMB)
    assert rungs == ["menu"] * CLIMB + ["values"] * CLIMB + ["blocks"] * 2 * CLIMB


def test_answers_that_bring_nothing_lead_up_more_slowly() -> None:
    """A server that enforces a schema makes every answer a valid one, so validity alone shows no skill."""
    rungs = climbed("discard", 3 * PATIENCE)
    assert rungs == ["menu"] * PATIENCE + ["values"] * PATIENCE + ["blocks"] * PATIENCE


def test_a_keep_counts_for_its_own_form_only() -> None:
    done = [asked("menu", "keep"), asked("menu")]
    assert after(*done) == "values"
    assert after(asked("menu"), asked("menu")) == "menu"
    assert after(*done, asked("values", "keep"), asked("values")) == "blocks"
    assert after(*done, asked("values"), asked("values")) == "values"


@pytest.mark.parametrize("status", ["invalid", "duplicate"])
def test_an_answer_that_is_no_new_edit_leads_down_and_the_form_rests(status: str) -> None:
    done = [asked("values", status)]
    rungs = []
    for _ in range(REST + PATIENCE):
        rungs.append(after(*done, first="values"))
        done.append(asked(rungs[-1]))
    assert rungs[0] == "menu" and set(rungs[:REST]) == {"menu"} and rungs[-1] == "values"


def test_a_trial_that_failed_within_the_experiment_leads_down_though_the_experiment_was_measured() -> None:
    tried = asked("menu", fallen=["blocks"], repairs=1)
    assert after(asked("values"), asked("values"), tried, first="values") == "menu"
    assert after(tried, *[asked("menu", "keep")] * CLIMB, *[asked("values", "keep")] * CLIMB, first="menu") == "values"


def test_a_repaired_answer_starts_the_count_again() -> None:
    assert after(asked("menu"), asked("menu", repairs=1), asked("menu")) == "menu"


def test_a_form_that_keeps_nothing_gives_way_to_a_lower_one_that_has_kept() -> None:
    kept = [asked("menu", "keep"), asked("menu")]
    assert after(*kept, *[asked("values", repairs=1)] * TRIAL) == "menu"
    assert after(*[asked("menu")] * PATIENCE, *[asked("values", repairs=1)] * TRIAL) == "values"


def test_blocks_that_match_nothing_twice_lead_to_the_whole_file() -> None:
    missed = asked("blocks", mismatches=1, repairs=1)
    assert after(missed, missed, first="blocks") == "whole"
    assert after(missed, asked("blocks"), missed, first="blocks") == "blocks"


def test_a_whole_file_that_fails_leads_down_to_values() -> None:
    assert after(asked("whole", "invalid"), first="whole") == "values"


def test_other_models_and_silent_servers_do_not_count() -> None:
    other = experiment(1, "discard", 20.0, talk={"agent": "another", "form": "menu", "calls": 1})
    silent = asked("menu", "invalid", calls=0)
    history = History((experiment(0, "keep", 11.0), other, silent, asked("values")), "score", "min")
    assert [e.talk["form"] for e in asked_of(history, NAME)] == ["values"]


def test_status_says_the_rung_and_what_each_form_has_brought() -> None:
    done = [asked("menu", "keep"), asked("menu"), asked("values"), asked("menu", fallen=["values"], repairs=1)]
    history = History((experiment(0, "keep", 11.0), *done), "score", "min")
    assert rung_words(history) == "menu next; measured at the first reply: menu 3 of 3 (1 kept), values 1 of 2"
    assert [(t.form, t.asked, t.clean) for t in tallies(done)] == [("menu", 3, 3), ("values", 2, 1)]
    assert rung_words(History((), "score", "min")) == ""
