"""What commands say when they are done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from autoresearch_mlx import terms
from autoresearch_mlx.experiment import Experiment, History
from autoresearch_mlx.judge.history import gained, runs_of, standing
from autoresearch_mlx.store.talks import Spent

if TYPE_CHECKING:
    from autoresearch_mlx.targets.corpus.rows import Corpus

_RULE = "=" * 72


def render_prompts(calls: Sequence[Mapping[str, Any]]) -> str:
    """Every message of every call, as it was sent."""
    return "\n".join(line for number, call in enumerate(calls, 1) for line in _prompt(number, call))


def render_replies(calls: Sequence[Mapping[str, Any]]) -> str:
    """Every reply as it came, with what the model thought before, or the error in its place."""
    return "\n".join(line for number, call in enumerate(calls, 1) for line in _reply(number, call))


def spent_words(spent: Spent, cost: float | None, caps: tuple[int | None, float | None]) -> str:
    """``12 calls, 84,120 of 2,000,000 tokens, cost 0.1301 of 5``; nothing where no call was made."""
    most_tokens, most_cost = caps
    words = [
        terms.plural(spent.calls, "call"),
        f"{spent.tokens:,}" + (f" of {most_tokens:,}" if most_tokens is not None else "") + " tokens",
    ]
    if cost is not None:
        words.append(f"cost {cost:.4f}" + (f" of {most_cost:g}" if most_cost is not None else ""))
    if spent.estimated:
        words.append(f"{terms.plural(spent.estimated, 'call')} without the server's count, estimated")
    return ", ".join(words)


def _prompt(number: int, call: Mapping[str, Any]) -> Iterator[str]:
    counted, guess = _number(call, "prompt_tokens"), _number(call, "estimated_prompt_tokens")
    tokens = f"{counted:,} tokens" if counted is not None else f"about {guess or 0:,} tokens by our estimate"
    yield f"{_RULE}\n{_head(number, call)}; prompt {tokens}"
    if cut := _list(call, "cut"):
        yield f"cut to fit: {terms.printable('; '.join(map(str, cut)))}"
    for message in _list(call, "messages"):
        if isinstance(message, Mapping):
            yield f"{_RULE}\n[{message.get('role')}]\n{terms.printable(str(message.get('content', '')))}"


def _reply(number: int, call: Mapping[str, Any]) -> Iterator[str]:
    counted, seconds = _number(call, "completion_tokens"), _number(call, "think_seconds")
    loading = _number(call, "load_seconds")
    facts = [_head(number, call), f"finish {call.get('finish') or terms.UNKNOWN}"]
    facts += [f"{counted:,} tokens"] if counted is not None else []
    facts += [f"{seconds:.1f} s"] if seconds is not None else []
    facts += [f"loading {loading:.1f} s"] if loading else []
    yield f"{_RULE}\n{', '.join(facts)}\n{_RULE}"
    if call.get("reasoning"):
        yield f"[thinking]\n{terms.printable(str(call['reasoning']))}\n[reply]"
    if call.get("error"):
        yield f"[error] {terms.printable(str(call['error']))}"
    if call.get("reply"):
        yield terms.printable(str(call["reply"]))


def _head(number: int, call: Mapping[str, Any]) -> str:
    return terms.one_line(f"call {number}: {call.get('purpose')} from {call.get('model')}, {call.get('time')}")


def _number(call: Mapping[str, Any], name: str) -> float | None:
    """What somebody has written over it is unknown."""
    value = call.get(name)
    return value if isinstance(value, int | float) else None


def _list(call: Mapping[str, Any], name: str) -> Sequence[Any]:
    value = call.get(name)
    return value if isinstance(value, list | tuple) else ()


def closing_line(history: History, reason: str) -> str:
    """How the session stands, and why this run ended."""
    lines = [outcome(history), _chosen(history), f"stopped: {reason}"]
    return "\n".join(line for line in lines if line)


def outcome(history: History) -> str:
    """Baseline, incumbent and counts in one sentence; empty before there is a baseline."""
    baseline, best = history.baseline, history.incumbent
    if baseline is None or best is None:
        return ""
    first, now = standing(history, baseline), standing(history, best)
    tried = [e for e in history.experiments if e.number > 0]
    kept = sum(e.status == "keep" for e in tried)
    failed = sum(e.failed for e in tried)
    counts = f"{kept} kept, {len(tried) - kept - failed} discarded, {failed} failed"
    said = f"{terms.plural(len(tried), 'experiment')}: {counts}"
    if best.number == 0:
        return f"{said}; nothing beat the baseline's {history.metric} {terms.value(first)}"
    if (gain := gained(history)) is None:
        apart = "the baseline was measured under another key, and does not compare"
        return f"{said}; {history.metric} {terms.value(now)}, experiment {best.number}; {apart}"
    percent = f", {100 * gain / abs(first):.2f} %" if first else ""
    way = f"{history.metric} {terms.value(first)} -> {terms.value(now)}"
    return f"{said}; {way} ({terms.gain(gain)}{percent}), experiment {best.number}"


def _chosen(history: History) -> str:
    """Said of a head that has only the runs it was chosen by: those are too good by luck."""
    best = history.incumbent
    if best is None or best.number == 0 or any(run.fresh for run in runs_of(history, best)):
        return ""
    return f"#{best.number} counts by the run that it was chosen by; `autoresearch-mlx certify` measures afresh"


def verdict(e: Experiment, metric: str, branch: str, editable: Sequence[str]) -> str:
    """The answer to ``try``: status, reason, and where the incumbent's file is now."""
    files = " ".join(editable)
    lines = [f"experiment {e.number}: {e.status}", e.reason]
    if e.value is not None:
        lines.append(f"{metric} {terms.value(e.value)}" + (f" ({terms.gain(e.gain)})" if e.gain is not None else ""))
    if e.status == "keep":
        lines.append(f"branch {branch} is now at {(e.commit or '')[:7]}")
    else:
        lines.append(f"the incumbent's file again: git restore --source {branch} -- {files}")
    if e.measurements:
        lines.append(f"numbers, diff and log: autoresearch-mlx show {e.number}")
    return "\n".join(lines)


def corpus_lines(corpus: Corpus) -> str:
    """What was prepared, and where it lies."""
    m = corpus.manifest
    megabytes = sum(m.bytes.values()) / 1e6
    rows = ", ".join(f"{m.rows[split]:,} {split}" for split in ("train", "val", "hidden"))
    text = f"{m.source}: {megabytes:,.1f} MB of text"
    return "\n".join(
        [
            f"{text}, vocabulary {m.vocab_size:,}, {m.bytes_per_token:.2f} bytes per token",
            f"rows of {m.seq_len} tokens: {rows}",
            f"in {corpus.folder}",
        ]
    )
