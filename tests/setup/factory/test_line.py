"""The whole line with a scripted model: 60 posts, three problems; one agent is shipped, two builds are discarded.

The line is killed after each of its events, and every stage is done once all the same.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import factory_model
import pytest
from conftest import ROOT, command_line, git
from forked_command import launcher
from openai_server import OpenAIServer

from autoresearch_mlx.setup.factory.cases import DEV_SHARE, GUARD_SHARE
from autoresearch_mlx.setup.factory.ledger import FILE, Factory, Problem, open_book
from autoresearch_mlx.store.journal import Event, read_events
from autoresearch_mlx.targets.evals.cases import read_cases, split
from autoresearch_mlx.trial.sandbox.detect import Sandbox

pytestmark = pytest.mark.slow

POSTS = Path(__file__).parent / "posts"
SUPPORT = ROOT / "tests" / "support"
OPTIONS = ("--agent", "openai:tiny-1b", "--cases", "20", "--builds", "1", "--experiments", "1")
MOST_CALLS = 60


@pytest.fixture(scope="module")
def killed(
    tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox
) -> Iterator[tuple[Path, list[int], OpenAIServer]]:
    """Call the command until it ends by itself; each call before that is killed right after its first event."""
    root = tmp_path_factory.mktemp("factory") / "mine"
    before = (str(SUPPORT / "die_at_write.py"), "factory.html.tmp", "1")
    events = []
    with OpenAIServer() as server:
        server.default = factory_model.model()
        environment = _environment(server)
        command = ("factory", str(root), "--posts", str(POSTS), *OPTIONS)
        for _ in range(MOST_CALLS):
            done = launcher().run(command, POSTS, environment, 120, before)
            events.append(len(read_events(root / FILE).events))
            assert done.returncode == -signal.SIGKILL, done.stderr
            if open_book(root).read().over:
                break
        done = command_line(*command, cwd=POSTS, **environment)
        assert done.returncode == 0, done.stderr
        yield root, events, server


def _environment(server: OpenAIServer) -> dict[str, str]:
    import os

    return {**os.environ, "COLUMNS": "100", "OPENAI_BASE_URL": server.base_url}


def state_of(root: Path) -> Factory:
    return open_book(root).read()


def problem(root: Path, title: str) -> Problem:
    (found,) = (each for each in state_of(root).problems if each.title == title)
    return found


def test_every_call_that_was_killed_left_one_more_event_and_none_twice(
    killed: tuple[Path, list[int], OpenAIServer],
) -> None:
    root, counts, _ = killed
    assert counts == list(range(2, len(counts) + 2))  # the first call enters its options too
    events = read_events(root / FILE).events
    stages = Counter((e["event"], e.get("problem"), e.get("batch")) for e in events)
    assert set(stages.values()) == {1}
    assert {e["event"] for e in events} == {
        "began", "collected", "evidence", "read", "merged", "problem", "listed", "spec", "cases", "built", "verified",
        "refused", "improved", "shipped", "discarded",
    }  # fmt: skip


def test_sixty_posts_in_six_formats_are_read_and_copies_are_left_out(
    killed: tuple[Path, list[int], OpenAIServer],
) -> None:
    state = state_of(killed[0])
    assert state.collected is not None and state.evidence is not None
    assert state.collected["posts"] == 60
    assert (state.evidence["pieces"], state.evidence["same"], state.evidence["near"]) == (58, 1, 1)


def test_three_problems_have_enough_evidence_and_ten_posts_of_one_author_count_once(
    killed: tuple[Path, list[int], OpenAIServer],
) -> None:
    root, _, _ = killed
    counts = {each.title: (each.independent, each.enough) for each in state_of(root).problems}
    assert counts == {
        "Scale servings": (12, True),
        "Count working days": (10, True),
        "Convert shoe sizes": (8, True),
        "Find gaps in invoices": (1, False),
    }
    assert len(problem(root, "Find gaps in invoices").evidence) == 10
    assert problem(root, "Scale servings").spec == {
        "title": "Scale servings",
        "input": "one question in English",
        "output": "the number alone",
        "tools": ["calculator"],  # the model also named a tool that does not exist
        "solved": "the number is right",
    }
    specified = [each.title for each in state_of(root).problems if each.spec is not None]
    assert len(specified) == 3 and "Find gaps in invoices" not in specified


def test_every_quote_stands_in_its_post(killed: tuple[Path, list[int], OpenAIServer]) -> None:
    root, _, _ = killed
    posts = {each["id"]: each for each in map(json.loads, (root / "work" / "evidence.jsonl").read_text().splitlines())}
    for each in state_of(root).problems:
        for piece in each.evidence:
            assert piece["quote"] in posts[piece["piece"]]["text"]
            assert piece["address"] and piece["author"] and piece["date"]


def test_trivial_agents_fail_the_cases_and_the_case_that_anything_passes_is_dropped(
    killed: tuple[Path, list[int], OpenAIServer],
) -> None:
    for each in state_of(killed[0]).problems[:3]:
        assert each.cases is not None
        trivial = each.cases["trivial"]
        assert (trivial["empty"], trivial["echo"]) == (0.0, 0.0) and trivial["constant"] <= 0.25
        assert each.cases["counts"] == {"dev": 8, "guard": 4, "hidden": 8}
        assert (
            each.cases["dropped"] == [["Say anything", "a missing answer passes its check"]]
            or each.cases["dropped"][0][1]
        )


def test_cases_are_written_before_the_build_and_its_builder_sees_no_guard_and_no_hidden_case(
    killed: tuple[Path, list[int], OpenAIServer],
) -> None:
    root, _, server = killed
    order = [(e["event"], e.get("problem")) for e in read_events(root / FILE).events]
    for each in state_of(root).problems[:3]:
        assert order.index(("cases", each.id)) < order.index(("built", each.id))
        cases = split(read_cases(root / "work" / "cases" / each.id / "cases.jsonl"), DEV_SHARE, GUARD_SHARE)
        # The experiments of `improve` are shown the failed dev cases, the builds the first ones.
        seen = "\n".join(
            r.prompt for r in server.chats if "# Task: build" in r.prompt or "This is experiment" in r.prompt
        )
        assert any(case.input in seen for case in cases["dev"])
        assert not [case.input for part in ("guard", "hidden") for case in cases[part] if case.input in seen]


def test_the_broken_build_and_the_one_with_hard_coded_answers_are_discarded(
    killed: tuple[Path, list[int], OpenAIServer],
) -> None:
    broken, table = (_end(problem(killed[0], title)) for title in ("Count working days", "Convert shoe sizes"))
    assert broken["stage"] == "verify" and "agent.py does not parse: expected ':'" in broken["reason"]
    assert table["stage"] == "verify" and "as hard-coded answers do: dev 1.00 of 8 cases, guard 0.00" in table["reason"]


def _end(found: Problem) -> Event:
    assert found.discarded is not None and found.shipped is None
    return found.discarded


def test_the_third_agent_is_improved_and_shipped_with_a_card(killed: tuple[Path, list[int], OpenAIServer]) -> None:
    root, _, _ = killed
    found = problem(root, "Scale servings")
    assert found.improved is not None and found.shipped is not None
    assert (found.improved["experiments"], found.improved["kept"], found.improved["after"]) == (1, 1, 1.0)
    folder = root / found.shipped["folder"]
    assert folder.name == f"{found.id}-scale-servings"
    card: dict[str, Any] = json.loads((folder / "card.json").read_text())
    assert card["hidden"]["score"] == 1.0 and card["hidden"]["cases"] == 8
    assert 0.6 < card["hidden"]["low"] < card["hidden"]["high"] == 1.0
    assert card["cost"]["tokens_a_case"] > 0 and card["cost"]["tokens_to_make"] > 1000
    text = (folder / "CARD.md").read_text()
    assert "Score on 8 hidden cases: **1.00**, 95 % interval 0.68 to 1.00" in text
    assert "## Known failures" in text and "2 * numbers\\[0\\]" not in text
    assert "str(2 * numbers[0])" in (folder / "agent.py").read_text()
    assert git(folder, "status", "--porcelain") == ""
    done = command_line("doctor", cwd=folder)
    assert "8 dev, 4 guard, 8 hidden" in done.stdout


def test_the_shipped_agent_answers_a_question_of_a_person(killed: tuple[Path, list[int], OpenAIServer]) -> None:
    root, _, server = killed
    found = problem(root, "Scale servings").shipped
    assert found is not None
    agent = str(root / found["folder"])
    question = "A recipe takes 90 g for 4 servings. How much for 6 servings?"
    done = command_line("factory", "ask", agent, question, cwd=ROOT, **_environment(server))
    assert (done.returncode, done.stdout) == (0, "135\n"), done.stderr
    lost = command_line("factory", "ask", str(root), "Hello?", cwd=ROOT)
    assert lost.returncode == 1 and "there is no agent in" in lost.stderr


def test_status_and_its_json_show_what_became_of_each_problem(killed: tuple[Path, list[int], OpenAIServer]) -> None:
    root, _, _ = killed
    done = command_line("factory", "status", cwd=root)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].endswith("done: 1 shipped, 2 discarded, 1 with too little evidence")
    assert "too little evidence  Find gaps in invoices" in done.stdout
    shown = json.loads(command_line("factory", "status", str(root), "--json", cwd=ROOT).stdout)
    assert sorted(each["state"] for each in shown["problems"]) == [
        "discarded", "discarded", "shipped", "too little evidence",
    ]  # fmt: skip
    assert shown["stage"] == "done"


def test_a_further_call_does_nothing_and_asks_no_model(killed: tuple[Path, list[int], OpenAIServer]) -> None:
    root, _, _ = killed
    before = (root / FILE).read_bytes()
    done = command_line("factory", str(root), cwd=ROOT)  # no model answers
    assert done.returncode == 0 and (root / FILE).read_bytes() == before


def test_no_process_is_left(killed: tuple[Path, list[int], OpenAIServer]) -> None:
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(killed[0]) not in listed
