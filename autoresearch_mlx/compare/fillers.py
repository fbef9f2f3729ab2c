"""Distinguish words that only comment on a change from words that may be part of the change.

A description is understood if all its words, apart from the change, are in these lists.  If a harmless word is missing,
a line with this word is unclear, and the comparison loses one row.  If a word is in a list by mistake, a line may be
read as a change that nobody made.
"""

from __future__ import annotations

import re

_VERBS = """
add adjust again apply back bigger bump change cut decay decrease deep deeper double drop eighth enlarge expand extend
faster fine-tune finetune fix go half halve halved have high higher increase increased keep kept large larger lengthen
less lift longer loosen looser low lower lowered make more move narrow narrowed narrower nudge push quarter raise
raised re-check re-tune recheck reduce reduced retest retry retune scale scale-down scale-up set shallow shallower
sharpen shift shorten shorter shrink slow slower small smaller strong stronger switch tighten tighter tiny triple
tripled try tune use using wide widen wider
"""
_LINKS = """
a a/b all an and another any as at be but by doubles each for from full gives in into is it its just of on our out
over per per-step rather so still than that the then there these they this to too up via was we were when which while
will with would yet
"""
_VERDICTS = """
fewer further simplification simpler win hurt
aggressive bad badly barely baseline best better big budget catastrophic clear clearly close confirm confirmed
confirms crash despite effect enough even flat gain gains good great help helped helps hurt hurts identical improve
improved improvement improves improving instability less little loses loss lost marginal marginally massive maybe
minor miss much near nearly neutral new noise noisier noisy not now oom optimal optimum outweighs overfit plateau poor
quality record regressed regresses regression results seems significant significantly slight slightly spot still
strong sweet target tie tied unclear undertrained unstable very win within worse worst
"""
_MEASURES = """
bpb budget context cooldown dim dims effective expansion final flop-matched frequency gap gb gpu grouped-query
hardware heads hp hps hyperparams init initial layer layers m mb memory mfu min mins minute minutes model ms
multi-query optimizer param-matched parameter parameters params perf run runs s sec second seconds step steps
throughput time tok tok/s tokens tokens/s train training undertraining updates val val_bpb vram
"""
_SUBJECTS = """
adamw attention base coefficient default frac fraction hyperparameter knob lr matrix muon part rate rates ratio region
share size value values width
"""
_CODE = """
activation attn block blocks cap cosine d ema embed embedding embeddings expression ffn gate gated gelu global grad
gradient head hidden instead iteration kv linear lm_head logit logits mask max_norm mlp momentum nesterov
newton-schulz norm olmo penalty plain regularization relu relu2 relu^2 replace replaces replacing residual rms_norm
schedule shared side silu simple simplification softcap squared standard state style swiglu tanh transformer unembed
unembedding variant warmdown wd weight weights wte
"""
FILLERS = frozenset(word for words in (_VERBS, _LINKS, _VERDICTS, _MEASURES, _SUBJECTS) for word in words.split())
"""Words that do not name a change."""
CODE_FILLERS = FILLERS | frozenset(_CODE.split())
"""The words of ``FILLERS``, and words that name no further change in a description of changed code."""

_NOTHING_MORE = re.compile(
    r"\b(?:no|without|not (?:an?|much|any)?|zero|little)\s+(?:\w+\s+)?"
    r"(?:improvement|gain|change|effect|benefit|difference|help|good|better|worth(?: it)?|quality gain|cost|win)\b"
    r"|\bdid(?: not|n't) (?:help|work|improve|matter)\b|\bnot worth(?: it)?\b"
    r"|\bsame (?:dim|width|params|perf|steps|quality|memory|time)\b|\bconv model\b|\b8/3\b"
    r"|\bnew best\b|\bbest so far\b"
)
_FIGURE = re.compile(
    r"[-+~≈]?\d[\d.,]*\s*(?:%|percent|[kmb](?![a-z])|gb|mb|ms|s|h|min|steps?|tokens?|tok/s|params|dim|layers?|x(?![a-z]))"
    r"(?:/(?:s|step|sec))?|[-+]?\d[\d.]*\s*(?:vs\.?|versus)\s*[-+]?\d[\d.]*|[-+]\s?\d+\.\d+"
)
_WORD = re.compile(r"[a-zà-ž0-9_'^*/+-]+")
_MARKS = re.compile(r"[^\w\s=<>→^*/%+~.-]")


def without_verdicts(text: str) -> str:
    """Return the text without verdicts such as "no improvement"; the "no" of a verdict is about the result, not the
    change."""
    return _NOTHING_MORE.sub(" ", text)


def only_fillers(text: str, known: frozenset[str] = FILLERS) -> bool:
    """Return whether a lower-case text only comments on a change.

    A comment has only fillers, verdicts and figures with units.
    """
    text = _FIGURE.sub(" ", without_verdicts(text))
    if re.search(r"[=<>→]|\d", text):
        return False
    return all(word.strip("'+-/*^.") in known or not word.strip("'+-/*^.") for word in _WORD.findall(text))
