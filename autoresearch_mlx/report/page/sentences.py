"""Write the sentences that the page and the post share: the gain, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.report.page.content import AxisRow, Page, Shown, Step
from autoresearch_mlx.report.status import Counts
from autoresearch_mlx.report.whole_step import NOT_YET


def title_of(page: Page) -> str:
    """Return a title such as ``autoresearch jul14: val_bpb 2.510091 -> 2.438682 (2.84 % better)``."""
    alone = not page.whole_step or page.whole_step.startswith(NOT_YET)
    return f"autoresearch {terms.one_line(page.head.session)}: {gain_in_words(page) if alone else page.whole_step}"


def gain_in_words(page: Page) -> str:
    """Return text such as ``val_bpb 2.510091 -> 2.438682 (2.84 % better)``."""
    standing, metric = page.standing, terms.one_line(page.head.metric)
    if standing.baseline is None or standing.incumbent is None:
        return "nothing measured yet"
    if standing.gain is None:
        return f"{metric} {terms.value(standing.baseline.value)}, nothing kept yet"
    way = f"{metric} {terms.value(standing.baseline.value)} -> {terms.value(standing.incumbent.value)}"
    if metric == terms.LOGARITHM:
        return f"{way} ({terms.times_as_fast(standing.gain)})"
    if standing.percent is None:
        return f"{way} ({terms.gain(standing.gain)})"
    return f"{way} ({abs(standing.percent):.2f} % {'better' if standing.gain >= 0 else 'worse'})"


def counts_in_words(page: Page) -> str:
    """Return text such as ``126 experiments: 9 kept, 110 discarded, 7 failed``."""
    h = page.head
    counts = Counts(h.experiments, h.kept, h.discarded, h.failed, h.interrupted)
    return f"{terms.plural(counts.experiments, 'experiment')}: {counts.in_words()}"


def belief(page: Page) -> str:
    """Say in a few sentences how far the gain can be trusted; commands are between backticks."""
    waits = "".join(f" Waiting for you: {each.words}." for each in page.waiting)
    return f"{_certified_or_not(page)}{_text(page.head.conditions)}{waits}"


def _text(conditions: Mapping[str, Any]) -> str:
    """Return a warning if the edited file could read the rows with which it is scored, otherwise an empty string."""
    if conditions.get("source") not in ("stdlib", "folder") or conditions.get("text_closed"):
        return ""
    return " Demonstration text: the edited file could read the text with which its model is scored."


def _certified_or_not(page: Page) -> str:
    found, standing = page.certified, page.standing
    if found is not None:
        label = "Certified" if found.certified else "Measured afresh, and not certified"
        rows = "hidden data" if found.split == "hidden" else "the program's own number"
        words = (
            f"{label}: experiment {found.head} against {found.before}, {terms.plural(found.pairs, 'pair')} of "
            f"alternating runs, on fresh seeds and {rows}; P(better) {_probability(found.probability_better)}."
        )
        if found.current or standing.incumbent is None:
            return words
        moved = f"Since then, experiment {standing.incumbent.number} was kept"
        return f"{words} {moved}; `autoresearch-mlx certify` measures that experiment."
    if standing.gain is None:
        return "No change has been kept, so there is nothing to certify."
    chosen = " The head has only the runs by which it was chosen." if standing.chosen else ""
    return (
        "Not certified. The gain is the difference between the loop's own runs. An experiment that was kept for a good "
        f"value tends to look better than it is.{chosen} `autoresearch-mlx certify` measures the head against the "
        "baseline on fresh seeds, and on hidden data if the target has some."
    )


def _probability(share: float) -> str:
    return ">0.999" if share > 0.9995 else f"{share:.3f}"


def noise_in_words(page: Page) -> str:
    """State how much two runs of one file differ, and from how many runs this is known."""
    n = page.noise
    if n.sigma is None:
        return f"Sigma is not known: {n.source}."
    regime = ""
    if page.fleet is not None:
        regime = " This sigma is over all machines of the fleet; the table of machines has the sigma of each machine."
    elif n.regime or n.regimes:
        regime = f" The session measures in regime {n.regime}: runs of different regimes cannot be compared."
    return f"One run of an unchanged file has a standard deviation of {terms.amount(n.sigma)}, from {n.source}.{regime}"


def interval(held: Step | AxisRow | Shown) -> str:
    """Return the ends of the 90 % interval, such as ``+0.002100 … +0.006800``.

    The text is empty if the noise is unknown.
    """
    if held.low is None or held.high is None:
        return ""
    return f"{terms.gain(held.low)} … {terms.gain(held.high)}"


def percent(share: float | None) -> str:
    """Return a gain in percent of the incumbent's value as text, or an empty string if the gain is unknown."""
    return "" if share is None else f"{share:+.3f}"


def span_words(started: str | None, finished: str | None) -> str:
    """Return text such as ``2026-11-29, 19:45 to 19:49 UTC``, in the ledger's local time.

    If the end is on another day, that day is named too.
    """
    if not started or not finished:
        return ""
    zone = "UTC" + finished[19:].replace("Z", "").replace("+00:00", "") if finished[19:] else ""
    end = finished[11:16] if finished[:10] == started[:10] else f"{finished[:10]}, {finished[11:16]}"
    return f"{started[:10]}, {started[11:16]} to {end} {zone}".rstrip()


def machine_words(machine: Mapping[str, Any]) -> str:
    """Return text such as ``AMD EPYC, 24 GB, cpu``."""
    memory = machine.get("memory_gb")
    size = f"{memory:.0f} GB" if isinstance(memory, int | float) else None
    known = [machine.get("chip"), size, machine.get("device")]
    return ", ".join(str(fact) for fact in known if fact)


def asked_words(page: Page) -> str:
    """Say how many tokens the runs trained on, and what the calls to models cost."""
    s = page.spending
    words = [f"{s.trained_tokens:,} tokens trained." if s.trained_tokens is not None else ""]
    if s.calls:
        words.append(
            f"{terms.plural(s.calls, 'call')} to models: {s.prompt_tokens:,} tokens in, {s.completion_tokens:,} out"
            + (f", estimated for {terms.plural(s.estimated, 'call')}" if s.estimated else "")
            + (f"; cost {s.cost:.4f} at the prices of lab.toml." if s.cost is not None else "; no prices in lab.toml.")
        )
    else:
        words.append("No call to a model was recorded.")
    return " ".join(filter(None, words))
