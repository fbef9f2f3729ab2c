"""A model that answers nonsense, obeys a hostile post, or does not answer: a stage says so, and nothing is lost."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import factory_model
import pytest
from conftest import git
from openai_server import OpenAIServer
from server_behaviours import fail

from autoresearch_mlx.errors import AgentError, ConfigError, EndpointError, LabError, LockedError
from autoresearch_mlx.setup.factory.ledger import FILE, Factory, Problem, held
from autoresearch_mlx.setup.factory.line import Wanted, run_line
from autoresearch_mlx.trial.sandbox.detect import Sandbox

SAID = "Scaling servings by hand is hard"


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as started:
        yield started


@pytest.fixture
def root(tmp_path: Path, server: OpenAIServer) -> Path:
    """Return a folder with three posts about one problem, and settings that name the server."""
    posts = tmp_path / "posts"
    posts.mkdir()
    for name, said in (("Ann", "for the three of us"), ("Ben", "with odd numbers"), ("Cid", "each single weekend")):
        (posts / f"{name}.txt").write_text(f"author: {name}\n\n{SAID} {said}, says {name}, and nobody helps.\n")
    settings = f'[agent]\nmodel = "openai:tiny-1b"\nbase_url = "{server.base_url}"\npatience_seconds = 0\n'
    (tmp_path / "lab.toml").write_text(settings)
    return tmp_path


def call(root: Path, server: OpenAIServer, until: str = "ship", **instead: factory_model.Reply) -> Factory:
    server.default = factory_model.model(**instead)
    options = {"cases": 20, "builds": 1, "experiments": 0}
    return run_line(root, Wanted(options=options, until=until), lambda text: None)  # type: ignore[arg-type]


def only(state: Factory) -> Problem:
    (found,) = state.problems
    return found


@pytest.mark.parametrize(
    "reply",
    ["", '{"problems": 7}', '{"problems": [{"title": NaN}]}', '{"problems": ' + "[" * 600 + "]" * 600 + "}"],
    ids=["nothing", "no list", "no number", "nested too deeply"],
)
def test_a_batch_without_a_usable_reply_gives_no_problem_and_the_ledger_says_why(
    reply: str, root: Path, server: OpenAIServer
) -> None:
    state = call(root, server, problems=lambda prompt: reply)
    assert state.problems == () and state.over
    (batch,) = state.batches
    assert batch["fault"] and batch["found"] == []
    assert len(server.chats) == 3  # each fault goes back to the model, twice


def test_a_quote_that_does_not_stand_in_the_post_is_no_evidence(root: Path, server: OpenAIServer) -> None:
    def invented(prompt: str) -> str:
        quotes = [f"{SAID} with odd numbers", "I would pay a thousand for it", "SCALING servings by hand\n is hard"]
        evidence = [{"post": n, "quote": quote} for n, quote in enumerate(quotes, 1)]
        found = {"id": "p7", "title": "Scale", "statement": "They scale servings.", "evidence": evidence}
        return json.dumps({"problems": [found]})

    found = only(call(root, server, until="problem", problems=invented))
    assert [piece["quote"] for piece in found.evidence] == [SAID]  # as the post writes it; post 1 is Ann's
    assert (found.id, found.state) == ("p1", "too little evidence")


@pytest.mark.parametrize(
    ("reply", "counts"),
    [
        ('{"same": [["p1", "p2"]]}', [30]),
        ('{"same": [["p2", "p9", "p1", "p2"], ["p1"]]}', [30]),
        ("they all look the same to me", [20, 10]),
    ],
    ids=["the same", "with unknown ids", "nonsense"],
)
def test_one_problem_in_the_words_of_two_batches(
    reply: str, counts: list[int], root: Path, server: OpenAIServer
) -> None:
    words = (
        "apple brick cloud delta eagle fjord grape house igloo jelly kayak lemon mango night olive piano quilt river"
    )
    for n in range(27):
        said = " ".join(random.Random(n).choices(words.split(), k=12))
        (root / "posts" / f"more-{n}.txt").write_text(f"author: Person {n}\n\nServings number {n} again: {said}.\n")

    def in_other_words(prompt: str) -> str:
        posts = factory_model.posts_of(prompt)
        evidence = [{"post": number, "quote": text.splitlines()[0][:40]} for number, text in posts]
        title = f"Scale for {len(posts)}"
        return json.dumps({"problems": [{"title": title, "statement": "They scale servings.", "evidence": evidence}]})

    state = call(root, server, until="problem", problems=in_other_words, merge=lambda prompt: reply)
    assert [each.independent for each in state.problems] == counts


def test_a_smaller_number_of_pieces_lets_a_problem_through_later(root: Path, server: OpenAIServer) -> None:
    server.default = factory_model.model()
    wanted = Wanted(options={"pieces": 4}, until="problem")
    assert only(run_line(root, wanted, lambda text: None)).state == "too little evidence"
    assert only(run_line(root, Wanted(options={"pieces": 3}, until="spec"), lambda text: None)).state == "cases"


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ("spec", "the model gave no usable specification: its JSON is malformed"),
        ("cases", "no cases were written: its JSON is malformed"),
        ("build", "the model gave no usable program: there is no file in it"),
    ],
)
@pytest.mark.slow
def test_nonsense_at_a_stage_discards_the_problem_with_the_reason(
    stage: str, words: str, root: Path, server: OpenAIServer
) -> None:
    found = only(call(root, server, **{stage: factory_model.nonsense}))
    assert found.discarded is not None and found.discarded["stage"] == stage
    assert words in found.discarded["reason"]


@pytest.mark.slow
def test_cases_that_a_constant_passes_are_refused(root: Path, server: OpenAIServer) -> None:
    def yes(prompt: str) -> str:
        taken = prompt.count('\n- "')
        made = [
            {"input": f"Is {taken + n} a number?", "answer": "yes", "check": {"exact": "yes"}, "tags": []}
            for n in range(10)
        ]
        return json.dumps({"cases": made})

    found = only(call(root, server, cases=yes))
    assert found.discarded is not None
    assert found.discarded["reason"] == "the constant answer 'yes' passes 20 of 20 cases"


def test_checks_that_run_code_ask_a_model_or_fetch_a_document_are_not_taken_from_a_model(
    root: Path, server: OpenAIServer
) -> None:
    checks = (
        {"python": "checks.py:right"},
        {"rubric": "it is polite"},
        {"schema": {"$ref": "http://127.0.0.1:9/schema.json"}},
        {"regex": "("},
    )

    def own(prompt: str) -> str:
        return json.dumps({"cases": [{"input": f"{n}?", "answer": "a", "check": c} for n, c in enumerate(checks)]})

    found = only(call(root, server, cases=own))
    assert found.discarded is not None
    assert "case 1: a check has one of exact, number, regex, schema" in found.discarded["reason"]
    assert "case 3: its schema refers to another document" in found.discarded["reason"]


@pytest.mark.slow
def test_an_agent_that_fails_in_its_first_cases_is_refused_with_its_error(
    root: Path, server: OpenAIServer, sandbox: Sandbox
) -> None:
    found = only(call(root, server, numbers=factory_model.nonsense))
    assert found.discarded is not None
    assert "it gives no answer: JSONDecodeError" in found.discarded["reason"]


@pytest.mark.slow
def test_a_full_disk_ends_the_call_and_an_agent_whose_baseline_fails_is_discarded(
    root: Path, server: OpenAIServer, sandbox: Sandbox
) -> None:
    call(root, server, until="verify")
    lab = root / "problems" / "p1" / "lab"
    (lab / "agent.py").write_text("import no_such_module\n")
    git(lab, "commit", "-qam", "broken")
    settings = lab / "lab.toml"
    whole = settings.read_text()
    settings.write_text(f"{whole}\n[limits]\nfree_disk_gb = 1e9\n")
    wanted = Wanted(options={"experiments": 1}, until="improve")
    with pytest.raises(LabError, match="disk"):
        run_line(root, wanted, lambda text: None)
    settings.write_text(whole)
    found = only(run_line(root, wanted, lambda text: None))
    assert found.discarded is not None and found.discarded["stage"] == "improve"
    assert found.discarded["reason"].startswith("the baseline ended as ")


@pytest.mark.slow
def test_a_server_that_goes_away_ends_the_call_and_discards_nothing(root: Path, server: OpenAIServer) -> None:
    ours = factory_model.model()
    server.default = lambda request: fail(503, "gone") if "# Task: cases" in request.prompt else ours(request)
    with pytest.raises(EndpointError):
        run_line(root, Wanted(until="cases"), lambda text: None)
    server.default = ours
    found = only(run_line(root, Wanted(until="cases"), lambda text: None))
    assert found.state == "build" and len([r for r in server.chats if "# Task: spec" in r.prompt]) == 1


def test_no_more_tokens_are_spent_than_the_settings_allow(root: Path, server: OpenAIServer) -> None:
    with (root / "lab.toml").open("a") as settings:
        settings.write("max_tokens_total = 900\n")
    with pytest.raises(AgentError, match="of max_tokens_total = 900 tokens are spent"):
        call(root, server)
    assert len(server.chats) <= 2


def test_a_persons_own_cases_are_used_and_a_weak_set_is_named(root: Path, server: OpenAIServer) -> None:
    call(root, server, until="spec")
    folder = root / "problems" / "p1"
    assert "Right when: the number is right" in (folder / "spec.md").read_text()
    mine = [{"id": f"mine-{n}", "input": f"{n}?", "check": {"python": "own.py:right"}} for n in range(40)]
    (folder / "own.py").write_text("def right(answer, case):\n    return answer == case['input'][:-1] * 2\n")
    (folder / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in mine[:3]))
    with pytest.raises(ConfigError, match="are needed"):
        call(root, server, until="cases")
    (folder / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in mine))
    found = only(call(root, server, until="cases"))
    assert found.cases is not None and found.cases["by"] == "the user"
    assert sum(found.cases["counts"].values()) == 40
    assert not [r for r in server.chats if "# Task: cases" in r.prompt]


def test_a_second_process_is_refused(root: Path, server: OpenAIServer) -> None:
    with held(root), pytest.raises(LockedError, match="another process works on this factory"):
        call(root, server)


@pytest.mark.parametrize("missing", ["posts.jsonl", "evidence.jsonl"])
def test_a_file_that_was_removed_is_named(missing: str, root: Path, server: OpenAIServer) -> None:
    call(root, server, until="collect" if missing == "posts.jsonl" else "evidence")
    (root / "work" / missing).unlink()
    with pytest.raises(LabError, match=f"{missing}, which is missing now"):
        call(root, server)


@pytest.mark.parametrize("line", ["{half a li", '{"text": "no more fields"}', "[1, 2]"])
def test_a_line_that_was_damaged_is_named(line: str, root: Path, server: OpenAIServer) -> None:
    call(root, server, until="evidence")
    with (root / "work" / "evidence.jsonl").open("a") as pieces:
        pieces.write(line + "\n")
    with pytest.raises(LabError, match=r"evidence\.jsonl, line 4, is damaged"):
        call(root, server)


def test_posts_that_come_too_late_are_named_and_the_same_call_again_is_no_surprise(
    root: Path, server: OpenAIServer
) -> None:
    said: list[str] = []
    for posts in ("posts", "posts", "more"):
        run_line(root, Wanted(posts=(root / posts,), until="evidence"), said.append)
    assert [line for line in said if "another folder" in line] == [
        f"not read: {root / 'more'}; this factory has read its posts already, so use another folder for these posts"
    ]


def test_a_damaged_line_of_the_ledger_is_told_and_an_event_without_its_fields_is_an_error(
    root: Path, server: OpenAIServer
) -> None:
    call(root, server, until="evidence")
    with (root / FILE).open("a") as ledger:
        ledger.write("{half a li\n")
    assert call(root, server, until="evidence").damaged == (4,)
    with (root / FILE).open("a") as ledger:
        ledger.write('{"event": "problem", "problem": "p1"}\n')
    with pytest.raises(LabError, match="'problem', is damaged: KeyError"):
        call(root, server)
