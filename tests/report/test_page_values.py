"""The values that the page shows: all of them come from the ledger, and nothing is added."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from report.nights import MACHINE, experiment, failed, measured, night, write_session
from report.pages import Night

from autoresearch_mlx.errors import LedgerError
from autoresearch_mlx.experiment import Measurement, Seconds
from autoresearch_mlx.judge.shrinkage import BY_SPEED
from autoresearch_mlx.report.page.content import Page, to_json
from autoresearch_mlx.report.page.gather import page_of
from autoresearch_mlx.report.page.sentences import span_words
from autoresearch_mlx.store.ledger import FILE, Ledger
from autoresearch_mlx.store.talks import Call, keep


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    root = tmp_path_factory.mktemp("lab")
    return page_of(Night(126, certify=True).write(root / ".autoresearch" / "jul14", root), root)


def test_the_standing_gain_is_that_of_the_status(session: Path) -> None:
    found = page_of(session, session)
    # The fresh run counts, not the run by which it was chosen.
    assert found.standing.gain == pytest.approx(2.512345 - 2.430522)
    assert found.standing.percent == pytest.approx(100 * found.standing.gain / 2.512345)
    assert (found.head.experiments, found.head.kept, found.head.discarded, found.head.failed) == (6, 1, 1, 4)
    assert found.certified is None


def test_what_is_unknown_is_none(session: Path) -> None:
    crash = page_of(session, session).experiments[3]
    assert (crash.value, crash.gain, crash.low, crash.tokens and crash.runs) == (None, None, None, 1)
    assert crash.log is None and crash.diff is None
    broken = page_of(session, session).experiments[6]
    assert (broken.hours, broken.seconds) == (None, None)


def test_a_session_without_a_finished_experiment(tmp_path: Path) -> None:
    found = page_of(write_session(tmp_path / "new", []), tmp_path)
    assert found.standing.baseline is None and found.experiments == () and found.head.experiments == 0
    assert found.noise.sigma is None


def test_without_git_the_page_says_why_there_are_no_diffs(session: Path) -> None:
    found = page_of(session, session)
    assert found.remarks and found.remarks[0].startswith("No diffs: ")
    assert found.changed.diff is None and found.changed.knobs == (("MATRIX_LR", "0.04", "0.028"),)


def test_each_experiment_has_its_diff_and_the_end_of_its_log(page: Page) -> None:
    row = next(row for row in page.experiments if row.status == "keep" and row.number > 0 and row.knobs)
    knob = row.knobs.split()[0]
    assert row.diff is not None and f"\n+{knob} = " in row.diff and f"\n-{knob} = " in row.diff
    assert row.log is not None and row.log.rstrip().split("\n")[-1].startswith("step 19 loss")


def test_the_way_to_the_head_is_told_in_keeps_knobs_and_code(page: Page) -> None:
    kept = [row.number for row in page.experiments if row.status == "keep" and row.number > 0]
    assert [step.number for step in page.changed.steps] == kept
    assert page.changed.diff is not None
    for name, was, now in page.changed.knobs:
        assert f"-{name} = {was}\n" in page.changed.diff and f"+{name} = {now}" in page.changed.diff


def test_hours_and_tokens_grow_and_count_work_only(page: Page) -> None:
    hours = [row.hours for row in page.experiments if row.hours is not None]
    tokens = [row.tokens for row in page.experiments if row.tokens is not None]
    assert hours == sorted(hours) and tokens == sorted(tokens)
    assert tokens[-1] <= (page.spending.trained_tokens or 0)


def test_the_certificate_leads_and_tells_whether_the_head_has_moved_on(tmp_path: Path, page: Page) -> None:
    assert page.certified is not None
    assert (page.certified.effect, page.certified.certified, page.certified.current) == (0.0812, True, True)
    folder = write_session(tmp_path / "jul14", night())
    facts = {"low": 0.01, "high": 0.09, "probability_better": 0.99, "pairs": 4, "certified": False, "before": 0}
    Ledger(folder).append("certified", effect=0.05, head=0, split="hidden", **facts)
    later = page_of(folder, tmp_path).certified
    assert later is not None and (later.certified, later.current) == (False, False)


def test_repeats_are_shown_against_the_mean_of_their_commits_first_regime(page: Page) -> None:
    assert [regime for regime, _ in page.noise.regimes] == [1]
    moved = [run.off for run in page.noise.again if run.regime == 1 and run.at == 70]
    assert moved and all(off > 0.005 for off in moved)
    assert page.noise.sigma is not None and page.noise.sigma > 0


def test_a_figure_that_moves_is_followed_and_one_that_stands_is_a_fact(page: Page) -> None:
    assert all(set(run.machine) == {"temperature_c"} for run in page.runs)
    assert page.head.machine["chip"] == MACHINE["chip"] and "temperature_c" not in page.head.machine


def test_time_is_told_by_phase_and_thinking_is_no_proposing_twice(tmp_path: Path) -> None:
    talk = {"think_seconds": 20.0, "load_seconds": 3.0}
    run = replace(measured(2.5), seconds=Seconds(1.0, 2.0, 300.0, 10.0))
    loop = {"propose": 25.0, "smoke": 4.0, "measure": 613.0, "incumbent": 300.0, "settle": 0.5, "unload": 1.5}
    one = experiment(0, "keep", "baseline", value=2.5, measurements=(run,), seconds=loop, talk=talk, base=None)
    seconds = page_of(write_session(tmp_path / "s", [one]), tmp_path).spending.seconds
    assert seconds == {
        "propose": 2.0, "think": 20.0, "load": 3.0, "unload": 1.5, "smoke": 4.0,
        "start": 1.0, "compile": 2.0, "train": 300.0, "evaluate": 10.0, "settle": 0.5,
    }  # fmt: skip
    assert list(seconds)[:3] == ["propose", "think", "load"]


def test_calls_to_models_are_counted_and_priced(session: Path) -> None:
    for n in (1, 2):
        call = Call(n, "qwen3", "proposal", [], "", "yes", prompt_tokens=4000, completion_tokens=500)
        keep(session, call)
    spending = page_of(session, session, (1.0, 2.0)).spending
    assert (spending.calls, spending.prompt_tokens, spending.completion_tokens) == (2, 8000, 1000)
    assert spending.cost == pytest.approx(0.01)
    assert page_of(session, session).spending.cost is None


def test_failures_are_gathered_by_cause(tmp_path: Path) -> None:
    def crash(number: int, reason: str) -> object:
        return experiment(
            number, "crash", "x", reason=reason, measurements=(failed("crash", reason, number, Seconds()),)
        )

    reasons = [
        "ValueError: shape (16,)",
        "smoke run: ValueError: shape (32,)",
        "no step within 60 s",
        "no step within 9 s",
    ]
    tried = [crash(n, reason) for n, reason in enumerate(reasons, 1)]
    causes = page_of(write_session(tmp_path / "s", tried), tmp_path).failures  # type: ignore[arg-type]
    assert [(c.cause, c.numbers) for c in causes] == [("ValueError", (1, 2)), ("no step within N s", (3, 4))]
    assert causes[0].example == reasons[1]


def test_early_stops_come_with_their_account(tmp_path: Path) -> None:
    stop = {"reason": "loss 5% above", "share": 0.6, "audit": False, "gap": 0.05}
    run = Measurement(None, 42, "stopped", "loss 5% above", extra={"stop": stop})
    audit = replace(measured(2.6), extra={"stop": {**stop, "audit": True}})
    tried = [*night()[:2], experiment(2, "discard", "a", measurements=(run,)),
             experiment(3, "discard", "b", value=2.6, gain=-0.1, measurements=(audit,))]  # fmt: skip
    folder = write_session(tmp_path / "s", tried, conditions={"budget_seconds": 300.0})
    found = page_of(folder, tmp_path).stops
    assert found is not None
    assert (found.stopped, found.saved_seconds, found.audits, found.wrong) == (1, pytest.approx(120.0), 1, 0)
    assert [(run.number, run.audit) for run in found.runs] == [(2, False), (3, True)]


def test_effects_by_axis_name_the_best_try_and_its_interval(page: Page) -> None:
    assert [row.gain for row in page.axes] == sorted((row.gain for row in page.axes), key=lambda g: -(g or 0))
    best = page.axes[0]
    rows = {row.number: row for row in page.experiments}
    assert best.best is not None and rows[best.best].low == best.low and best.high is not None
    assert sum(row.tried for row in page.axes) == sum(
        row.number > 0 and row.status not in ("duplicate", "interrupted") for row in page.experiments
    )


def test_the_h100_stands_beside_the_night(page: Page) -> None:
    batch = next(row for row in page.transfer.axes if row.axis == "batch")
    assert batch.there.change == "TOTAL_BATCH_SIZE 2**19 -> 2**18" and batch.both
    assert batch.here.percent is not None and page.transfer.remarks


def test_another_metric_is_not_laid_beside_the_h100(tmp_path: Path) -> None:
    folder = write_session(tmp_path / "sieve", night(), metric="score", direction="max")
    transfer = page_of(folder, tmp_path).transfer
    assert transfer.axes == () and any("score" in remark for remark in transfer.remarks)


def test_a_log_outside_of_the_session_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("the key")
    run = replace(measured(2.5), log="../secret.txt")
    one = experiment(0, "keep", "baseline", value=2.5, measurements=(run,))
    assert page_of(write_session(tmp_path / "s", [one]), tmp_path).experiments[0].log is None


def test_the_document_is_plain_json_without_nan(page: Page) -> None:
    document = json.loads(json.dumps(to_json(page), allow_nan=False))
    assert document["head"]["session"] == "jul14" and len(document["experiments"]) == 127


@pytest.mark.parametrize(
    ("was", "now", "fault"),
    [
        ('"value": 2.431022', '"value": "low"', "value is not a finite number"),
        ('"value": 2.431022', '"value": NaN', "JSONDecodeError"),
        ('"title": "MATRIX_LR 0.04 -> 0.028"', '"title": 7', "title is not text"),
        ('"steps": 231', '"steps": "many"', "a run's steps is not a finite number"),
        ('"status": "keep"', '"status": "keep", "talk": []', None),
        ('"measurements": [', '"measurements": [3, ', "AttributeError"),
        ('"number": 1', '"number": 1, "effect": {"low": "x"}', "effect.low is not a finite number"),
    ],
)
def test_a_line_that_no_writer_of_ours_wrote_is_named(session: Path, was: str, now: str, fault: str | None) -> None:
    lines = (session / FILE).read_text().split("\n")
    at = next(n for n, line in enumerate(lines) if '"finished"' in line and '"number": 1,' in line)
    assert was in lines[at]
    if fault is None:  # a field that is merely empty does no harm
        lines[at] = lines[at].replace(was, now)
        (session / FILE).write_text("\n".join(lines))
        assert page_of(session, session).head.experiments == 6
        return
    lines[at] = lines[at].replace(', "effect": {}', "").replace(was, now, 1)
    (session / FILE).write_text("\n".join(lines))
    with pytest.raises(LedgerError, match=f"{FILE}, line {at + 1}: .*{fault}"):
        page_of(session, session)


def test_the_times_of_a_session_name_a_day_once_and_their_zone() -> None:
    assert span_words("2026-11-29T19:45:10+00:00", "2026-11-29T19:49:00+00:00") == "2026-11-29, 19:45 to 19:49 UTC"
    night = span_words("2026-07-14T22:58:00+02:00", "2026-07-15T08:02:00+02:00")
    assert night == "2026-07-14, 22:58 to 2026-07-15, 08:02 UTC+02:00"
    assert span_words("2026-11-29T19:45:10+00:00", None) == ""


@pytest.mark.parametrize(
    ("status", "gain", "rest", "said"),
    [
        ("discard", 0.01, "): discard", "better, but within noise"),
        ("discard", 0.01, f", {BY_SPEED}): discard", "better, but within noise"),
        ("discard", -0.01, f", {BY_SPEED}): discard", "better only by the machine's speed"),
        ("discard", 0.01, "), but the guard case a passed before and now fails: discard", "worse in another way"),
        ("limit", None, "), but memory 130 MB is above its limit of 126 MB", "better, but it breaks a limit"),
        ("crash", None, "), and then it crashed", ""),
    ],
)
def test_a_better_value_that_was_not_kept_has_its_reason(
    tmp_path: Path, status: str, gain: float | None, rest: str, said: str
) -> None:
    reason = f"gain 0.010 +- 0.009 (1.1 sigma, 2 runs each{rest}"
    better = experiment(1, status, "DEPTH 4 -> 5", value=2.4, gain=gain, reason=reason)
    page = page_of(write_session(tmp_path / "jul16", [experiment(0, "keep", "baseline", value=2.5), better]), tmp_path)
    first, second = (row.ahead for row in page.experiments)
    assert first == "" and second.endswith(said) and bool(second) == bool(said)
