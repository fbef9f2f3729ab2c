"""The sentences that head the page and the post: what was gained, and how far that can be believed."""

from __future__ import annotations

from autoresearch_mlx import terms
from autoresearch_mlx.report.page.content import Page


def title_of(page: Page) -> str:
    return f"autoresearch {terms.one_line(page.head.session)}: {gain_in_words(page)}"


def gain_in_words(page: Page) -> str:
    """``val_bpb 2.510091 -> 2.438682 (2.84 % better)``"""
    stands, metric = page.standing, terms.one_line(page.head.metric)
    if stands.baseline is None or stands.incumbent is None:
        return "nothing measured yet"
    if stands.gain is None:
        return f"{metric} {terms.value(stands.baseline.value)}, nothing kept yet"
    way = f"{metric} {terms.value(stands.baseline.value)} -> {terms.value(stands.incumbent.value)}"
    if stands.percent is None:
        return f"{way} ({terms.gain(stands.gain)})"
    return f"{way} ({abs(stands.percent):.2f} % {'better' if stands.gain >= 0 else 'worse'})"


def counts_in_words(page: Page) -> str:
    h = page.head
    return (
        f"{terms.plural(h.experiments, 'experiment')}: {h.kept:,} kept, {h.discarded:,} discarded, {h.failed:,} failed"
    )


def belief(page: Page) -> str:
    """How far the figure can be believed, in a sentence or two."""
    found, stands = page.certified, page.standing
    if found is not None:
        label = "Certified" if found.certified else "Measured afresh, and not certified"
        rows = "hidden rows" if found.split == "hidden" else "the program's own number"
        words = (
            f"{label}: experiment {found.head} against {found.before}, {terms.plural(found.pairs, 'pair')} of runs in "
            f"turn, on fresh seeds and {rows}; P(better) {_probability(found.probability_better)}."
        )
        if found.current or stands.incumbent is None:
            return words
        moved = f"The head has moved on to experiment {stands.incumbent.number}"
        return f"{words} {moved}; `autoresearch-mlx certify` measures that."
    if stands.gain is None:
        return "Nothing has been kept over the baseline, so there is nothing to certify."
    chosen = " Its head counts by the run that it was chosen by." if stands.chosen else ""
    return (
        "Not certified. This is the difference by the loop's own runs, and what was kept for looking good looks a "
        f"little too good.{chosen} `autoresearch-mlx certify` measures the head against the baseline on fresh seeds "
        "and hidden rows."
    )


def _probability(share: float) -> str:
    return ">0.999" if share > 0.9995 else f"{share:.3f}"


def noise_in_words(page: Page) -> str:
    n = page.noise
    if n.sigma is None:
        return f"Sigma is not known: {n.source}."
    stand = ""
    if n.stand or n.stands:
        stand = f" The session measures in stand {n.stand}: runs of different stands do not compare."
    return f"One run of an unchanged file has a standard deviation of {terms.amount(n.sigma)}, from {n.source}.{stand}"
