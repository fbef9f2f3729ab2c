"""The page's markup: everything that is text or a table; the plots and the table of experiments draw themselves."""

from __future__ import annotations

from autoresearch_mlx import terms
from autoresearch_mlx.report.page import tables
from autoresearch_mlx.report.page.content import Changed, Page, Standing
from autoresearch_mlx.report.page.escape import change, escape
from autoresearch_mlx.report.page.headline import belief, counts_in_words, noise_in_words

_SECTIONS = (
    ("night", "The night"),
    ("changed", "What changed"),
    ("experiments", "Experiments"),
    ("effects", "Effects"),
    ("transfer", "H100 and here"),
    ("noise", "Noise"),
    ("speed", "Machine"),
    ("spent", "Time and tokens"),
    ("failures", "Failures"),
)
_SHORT = 5
"""Rows and steps on the first screen."""


def body(page: Page) -> str:
    links = "".join(f'<li><a href="#{name}">{words}</a></li>' for name, words in _SECTIONS)
    return "\n".join(
        [
            '<a class="skip" href="#night">to the figures</a>',
            _header(page),
            f'<nav aria-label="parts of the page"><ul>{links}</ul></nav>',
            "<main>",
            _first(page),
            _changed(page),
            _section("experiments", "Every experiment", '<div id="sheet"></div>'),
            _effects(page),
            _transfer(page),
            _section(
                "noise", "Noise and drift", f'<p>{escape(noise_in_words(page))}</p><div class="plot" id="again"></div>'
            ),
            _machine(page),
            _section("spent", "Time and tokens", tables.spent(page)),
            _section("failures", "Failures and early stops", tables.failures(page) + tables.stops(page)),
            "</main>",
            f"<footer><p class='soft'>{_made(page)}</p></footer>",
        ]
    )


def _section(name: str, words: str, inner: str) -> str:
    return f'<section id="{name}" aria-labelledby="h-{name}"><h2 id="h-{name}">{words}</h2>{inner}</section>'


def _header(page: Page) -> str:
    h = page.head
    facts = [
        counts_in_words(page),
        ", ".join(map(escape, h.agents[:4])),
        tables.machine_words(h.machine),
        escape(_span(h.started, h.finished)),
        "<strong>running now</strong>" if h.running else "",
    ]
    words = " · ".join(escape(f) if i == 0 else f for i, f in enumerate(facts) if f)
    script = "The plots and the table of experiments need JavaScript; progress.png and report.md do not."
    button = '<button type="button" id="theme" hidden>dark</button>'
    name = f"<h1>{escape(terms.one_line(h.session))}</h1>"
    return f"<header>{name}<p>{words}</p>{button}<noscript><p>{script}</p></noscript></header>"


def _span(started: str | None, finished: str | None) -> str:
    """``2026-07-14 22:58 to 2026-07-15 08:02``, as the ledger's own clock had it."""
    return f"{started[:16].replace('T', ' ')} to {finished[:16].replace('T', ' ')}" if started and finished else ""


def _first(page: Page) -> str:
    cards = [_gain_card(page), _changed_card(page.changed), _carried_card(page)]
    notes = "".join(f'<p class="soft">{escape(remark)}</p>' for remark in page.remarks)
    return (
        '<section id="night" aria-label="The night"><div class="cards">'
        + "".join(f'<div class="card">{card}</div>' for card in cards)
        + '</div><div class="plot" id="progress"></div>'
        f'<p class="soft">Drag to zoom; Enter or a double click opens an experiment.</p>{notes}</section>'
    )


def _gain_card(page: Page) -> str:
    found = page.certified
    if found is not None:
        badge = (
            '<span class="badge yes">certified</span>'
            if found.certified
            else '<span class="badge no">not certified</span>'
        )
        size = f"{terms.gain(found.effect)} <small>{escape(page.head.metric)}</small>"
        range_ = f"<p>90 %: {terms.gain(found.low)} to {terms.gain(found.high)}</p>"
        head = f"<h2>Certified gain {badge}</h2>{_figure(size, found.effect)}{range_}"
    else:
        gain = page.standing.gain
        size = f"{terms.gain(gain)} <small>{escape(page.head.metric)}</small>" if gain is not None else "none yet"
        head = f'<h2>Gain by the loop\'s own runs <span class="badge no">not certified</span></h2>{_figure(size, gain)}'
    return f"{head}{_way(page.standing)}<p>{_coded(belief(page))}</p>"


def _figure(words: str, gain: float | None) -> str:
    kind = "" if not gain else " good" if gain > 0 else " bad"
    return f'<p class="figure{kind}">{words}</p>'


def _way(stands: Standing) -> str:
    if stands.baseline is None or stands.incumbent is None:
        return "<p>Nothing has been measured yet.</p>"
    first, best = stands.baseline, stands.incumbent
    if stands.gain is None:
        return f"<p>Baseline {terms.value(first.value)}.</p>"
    percent = f" ({stands.percent:+.2f} %)" if stands.percent is not None else ""
    return (
        f"<p>By the loop's runs: {terms.value(first.value)} → <strong>{terms.value(best.value)}</strong>{percent}, "
        f"experiment {tables.link(best.number)}.</p>"
    )


def _changed_card(changed: Changed) -> str:
    if not changed.steps:
        return "<h2>What changed</h2><p>Nothing was kept yet; the head is the baseline.</p>"
    ranked = sorted(changed.steps, key=lambda step: -(step.gain or 0.0))[:_SHORT]
    items = "".join(
        f"<li>{change(step.title)} <span class='soft'>{terms.gain(step.gain)}</span> {tables.link(step.number)}</li>"
        for step in ranked
    )
    rest = len(changed.steps) - len(ranked)
    more = (
        f'<p><a href="#changed">{rest} smaller ones, and the code</a></p>'
        if rest
        else '<p><a href="#changed">the code</a></p>'
    )
    return f"<h2>What changed, largest gains first</h2><ol>{items}</ol>{more}"


def _carried_card(page: Page) -> str:
    found = page.transfer
    both = [row for row in found.axes if row.both and row.here.percent is not None]
    head = f"<h2>What carried over from the {escape(found.reference or 'H100')}</h2>"
    if not both:
        alone = found.remarks[0] if found.remarks and not found.axes else "No axis was measured on both sides yet."
        return f'{head}<p>{escape(alone)}</p><p><a href="#transfer">more of it</a></p>'
    # What is decided comes first: within noise there is nothing to read.
    ranked = sorted(both, key=lambda row: row.verdict in ("within noise", "same sign?", "opposite sign?"))
    link = f'<p><a href="#transfer">all {len(both)} axes, and what to make of it</a></p>'
    return f"{head}{tables.carried_short(ranked[:_SHORT])}{link}"


def _changed(page: Page) -> str:
    changed = page.changed
    if not changed.steps:
        return _section("changed", "What changed", "<p>Nothing was kept yet.</p>")
    parts = [tables.steps(changed.steps, page.head.metric), tables.knobs(changed.knobs)]
    if changed.diff is not None:
        note = "<p class='soft'>Only the first lines are in this file.</p>" if changed.cut else ""
        code = f'<pre tabindex="0">{_diff(changed.diff)}</pre>{note}'
        parts.append(f"<h3>Baseline to head, as code</h3>{code}")
    else:
        parts.append("<p class='soft'>The code is not here: git does not have both commits.</p>")
    return _section("changed", "What changed", "".join(parts))


def _diff(text: str) -> str:
    return "".join(map(_diff_line, text.split("\n")))


def _diff_line(line: str) -> str:
    about = line.startswith(("+++", "---", "@@", "diff", "index"))
    kind = "at" if about else {"+": "add", "-": "del"}.get(line[:1], "")
    return f'<span class="{kind}">{escape(line)}</span>' if kind else f"{escape(line)}\n"


def _effects(page: Page) -> str:
    words = (
        "For each axis the change with the largest gain: estimate and 90 % interval, where the noise is known. Faint "
        "dots are all other tries; those far off stand at the edge. The best of several tries is flattered by luck."
    )
    plot = '<div class="plot" id="forest"></div>'
    return _section("effects", "Effects by axis", f'<p class="soft">{words}</p>{plot}{tables.axes(page.axes)}')


def _transfer(page: Page) -> str:
    remarks = "".join(f"<p>{escape(remark)}</p>" for remark in page.transfer.remarks)
    table = tables.transfer(page.transfer) if page.transfer.axes else ""
    name = escape(page.transfer.reference or "H100")
    return _section("transfer", f"{name} and here", f"{table}<div class='soft'>{remarks}</div>")


_PHYSICAL = ("temperature", "thermal", "battery", "power", "watts")
"""In the names of figures that tell of heat and power."""


def _machine(page: Page) -> str:
    """A plot for each figure that moved during the night."""
    moving = dict.fromkeys(name for run in page.runs for name in run.machine)
    named = ("tokens_per_second", "peak_memory_mb")
    held = [name for name in named if any(getattr(run, name) is not None for run in page.runs)]
    plots = "".join(f'<div class="plot" data-fact="{escape(name)}"></div>' for name in [*held, *moving])
    physical = any(word in name for name in moving for word in _PHYSICAL)
    missing = "" if physical else "<p class='soft'>The runs of this session hold no temperature and no power.</p>"
    facts = tables.facts({**page.head.machine, **page.head.conditions})
    return _section("speed", "Speed and machine", f"{plots or '<p>No run told its speed.</p>'}{missing}{facts}")


def _coded(text: str) -> str:
    """Commands between backticks as code."""
    parts = text.split("`")
    return "".join(f"<code>{escape(p)}</code>" if at % 2 else escape(p) for at, p in enumerate(parts))


def _made(page: Page) -> str:
    return f"Made {escape(page.made)} from the ledger of {escape(page.head.branch)} by autoresearch-mlx."
