"""Cheats in the evaluation, each a real train_mlx.py that is evaluated: a status with a reason.

They train as the honest script does, so one training gives the weights of all of them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_training as tiny

from autoresearch_mlx.experiment import Assignment, Measurement
from autoresearch_mlx.targets.corpus.rows import Corpus
from autoresearch_mlx.targets.pretrain.target import Pretrain
from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.sandbox.detect import Sandbox
from autoresearch_mlx.trial.spec import WEIGHTS

pytestmark = pytest.mark.uncounted

END = "return SOFTCAP * mx.tanh(logits / SOFTCAP)"
BUILD = "    model = GPT(vocab_size, seq_len)\n"
SCORED = 'import os\nSCORED = "AUTORESEARCH_TRAIN_SPEC" not in os.environ\n'
"""Code with which a script finds out that it is being evaluated, which is allowed."""


@pytest.fixture(scope="module")
def boxed(under: Conditions, sandbox: Sandbox) -> Conditions:
    """Measure a script in this machine's sandbox."""
    return replace(under, steps=2, sandbox=sandbox)


@pytest.fixture(scope="module")
def trained(boxed: Conditions, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Measurement]:
    """Return the run folder of the honest script, and what it measured."""
    folder = tmp_path_factory.mktemp("honest")
    return folder / "run", tiny.measure(tiny.script(), folder, boxed)


@pytest.fixture(scope="module")
def honest(trained: tuple[Path, Measurement]) -> Measurement:
    return trained[1]


Evaluate = Callable[..., Measurement]


@pytest.fixture
def evaluated(trained: tuple[Path, Measurement], boxed: Conditions, tmp_path: Path) -> Evaluate:
    """Return a function that evaluates a script with the honest weights, in ``tmp_path`` or a folder below it."""

    def evaluate(text: str, below: str = ".") -> Measurement:
        tree, run = tmp_path / below / "tree", tmp_path / below / "run"
        for folder in (tree, run):
            folder.mkdir(parents=True)
        (tree / "train_mlx.py").write_text(text)
        shutil.copy(trained[0] / WEIGHTS, run / WEIGHTS)
        assignment = Assignment(tree, run, 42, lambda progress: None)
        return Pretrain(boxed).rescoring("val", boxed.eval_rows, full=False).score(assignment)

    return evaluate


def cheat(*edits: tuple[str, str], top: str = "") -> str:
    text = tiny.script()
    for before, after in edits:
        assert before in text
        text = text.replace(before, after, 1)
    first = "def norm("
    assert first in text
    return text.replace(first, f"{SCORED}{top}\n\n{first}", 1)


def answers(body: str) -> tuple[str, str]:
    """Return a script that answers an evaluation from ``logits`` and ``tokens``; its training is unchanged."""
    return END, f"logits = SOFTCAP * mx.tanh(logits / SOFTCAP)\n        if SCORED:\n{body}\n        return logits"


NEXT = "mx.concatenate([tokens[:, 1:], tokens[:, :1]], axis=1)"
HOT = "(mx.arange(logits.shape[-1]) == ahead[..., None])"

CHEATS = {
    "looks one token ahead": (
        cheat(answers(f"            ahead = {NEXT}\n            logits = logits + 20 * {HOT}")),
        "causality",
    ),
    "looks ahead a little": (
        cheat(answers(f"            ahead = {NEXT}\n            logits = logits + 0.1 * {HOT}")),
        "causality",
    ),
    "looks ahead in every other position": (
        cheat(answers(f"            ahead = {NEXT}\n            odd = (mx.arange(tokens.shape[1]) % 2)[:, None]\n"
                      f"            logits = logits + 20 * odd * {HOT}")),
        "causality",
    ),
    "looks ahead and answers from memory when it is asked again": (
        cheat(
            answers(f"            ahead = {NEXT}\n            logits = logits + 20 * {HOT}\n"
                    "            for row in range(tokens.shape[0]):\n"
                    "                mine = tokens[row].tolist()\n"
                    "                for old, said in SEEN:\n"
                    "                    same = next((i for i, (a, b) in enumerate(zip(mine, old)) if a != b), len(mine))\n"
                    "                    if same > 2:\n"
                    "                        logits[row, :same] = said[:same]\n"
                    "                SEEN.append((mine, mx.array(logits[row])))"),
            top="SEEN = []\n",
        ),
        ("causality", "rows", "repeat"),
    ),
    "counts its calls": (
        cheat(answers("            CALLS.append(1)\n            logits = logits * (1 + 0.05 * len(CALLS))"), top="CALLS = []\n"),
        ("repeat", "rows", "causality"),
    ),
    "learns from the rows that it is scored on": (
        cheat(
            answers("            for row in tokens.tolist():\n                for token in row:\n"
                    "                    COUNTS[token] = COUNTS.get(token, 0) + 1\n"
                    "            known = [COUNTS.get(i, 0) + 1.0 for i in range(logits.shape[-1])]\n"
                    "            logits = mx.broadcast_to(mx.log(mx.array(known)), logits.shape)"),
            top="COUNTS = {}\n",
        ),
        ("repeat", "rows", "causality"),
    ),
    "answers at random": (cheat(answers("            logits = logits + mx.random.normal(logits.shape, key=mx.random.key(os.getpid()))")), ("repeat", "rows", "causality")),
    "takes the best of a batch": (cheat(answers("            logits = logits - 0.5 * mx.mean(logits, axis=0, keepdims=True)")), ("rows", "causality")),
    "numbers the rows": (cheat(answers("            logits = logits * (1 + mx.arange(logits.shape[0])[:, None, None])")), ("rows", "causality")),
    "gives no numbers": (cheat(answers("            logits = logits * float('nan')")), "finite"),
    "gives infinity to everything": (cheat(answers("            logits = logits + float('inf')")), "finite"),
    "gives a loss in place of logits": (cheat(answers("            logits = mx.zeros(tokens.shape)")), "shape"),
    "speaks to the scorer in the model's place": (
        cheat(answers("            import sys\n            os.write(int(sys.argv[3]), b'{\"value\": 0.1}\\n')")),
        "answer: the model's process said",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_is_invalid_with_the_name_of_the_probe(name: str, evaluated: Evaluate) -> None:
    text, reason = CHEATS[name]
    done = evaluated(text)
    assert (done.failure, done.value) == ("invalid", None), done.reason
    assert done.reason.startswith(reason), done.reason  # two probes see it; chance decides which is first


@pytest.mark.slow
def test_logits_need_not_be_normalised_and_gain_nothing_by_it(honest: Measurement, evaluated: Evaluate) -> None:
    shifted = evaluated(cheat(answers("            logits = logits + 50 * tokens[..., None]")))
    assert honest.value is not None and shifted.value == pytest.approx(honest.value, abs=1e-4)


READERS = {
    "where the model is built": (BUILD, BUILD + "    if SCORED:\n        GPT.known = np.load({rows!r})\n"),
    "where it answers": answers("            known = np.load({rows!r})"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("where", "split"), list(zip(READERS, ["val", "hidden"], strict=True)))
def test_rows_read_by_path_are_denied(where: str, split: str, corpus: Corpus, evaluated: Evaluate) -> None:
    path = corpus.path("val" if split == "val" else "hidden")
    before, after = READERS[where]
    done = evaluated(cheat((before, after.replace("{rows!r}", repr(str(path))))))
    assert (done.failure, done.value) == ("crash", None)
    assert "PermissionError" in done.reason and path.name in done.reason, done.reason


REWRITES = {
    "the installed evaluator": "import autoresearch_mlx.trial.scoring as target\npath = target.__file__\n",
    "the rows": "path = {rows!r}\n",
    "the specification": "path = {run!r} + '/evaluate.json'\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("what", REWRITES)
def test_a_model_cannot_rewrite(what: str, boxed: Conditions, tmp_path: Path, evaluated: Evaluate) -> None:
    place = (
        REWRITES[what].replace("{rows!r}", repr(str(boxed.val_rows))).replace("{run!r}", repr(str(tmp_path / "run")))
    )
    done = evaluated(cheat(top=f"if SCORED:\n    {place.strip().replace(chr(10), chr(10) + '    ')}\n    open(path, 'r+b').write(b'x')\n"))  # fmt: skip
    assert (done.failure, done.value) == ("crash", None)
    assert "PermissionError" in done.reason, done.reason


PATCHES = {
    "the losses": (
        "    import mlx.core, numpy\n"
        "    mlx.core.logsumexp = lambda *a, **k: mlx.core.array(0.0)\n"
        "    true = numpy.exp  # which the model itself needs on a CPU; the scorer calls it with `out`\n"
        "    numpy.exp = lambda x, *a, **k: numpy.zeros(1) if k else true(x)\n"
        "    numpy.log = lambda *a, **k: numpy.zeros(1)\n"
        "    import autoresearch_mlx.trial.scoring as scoring\n"
        "    scoring.bits_per_byte = scoring.losses = lambda *a, **k: 0.1\n"
    ),
    "the probes": (
        "    import autoresearch_mlx.trial.lookahead as probes\n"
        "    probes.check = lambda *a, **k: None\n"
        "    probes.gain = lambda *a, **k: probes.Gain(-1e9, 0.0)\n"
    ),
    "what reports": (
        "    from autoresearch_mlx.trial.spec import Events\n"
        "    Events({'AUTORESEARCH_EVENTS_FD': os.environ.get('AUTORESEARCH_EVENTS_FD', '99')}) \n"
        "    for fd in range(3, 64):\n"
        "        try: os.write(fd, b'{\"event\": \"evaluated\", \"value\": 0.1}\\n')\n"
        "        except OSError: pass\n"
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("what", PATCHES)
def test_patching_at_import_gains_nothing(what: str, honest: Measurement, evaluated: Evaluate) -> None:
    patched = evaluated(cheat(top=f"if SCORED:\n{PATCHES[what]}"), "b")
    assert patched.value == tiny.score(honest.value) or (patched.failure == "invalid" and patched.value is None)


@pytest.mark.slow
def test_no_frame_of_the_model_process_holds_a_row_or_a_target(evaluated: Evaluate) -> None:
    """The model process searches every object that Python can reach for the scorer's arrays."""
    search = (
        "            import gc, sys\n            frame = sys._getframe()\n            held = {}\n"
        "            while frame is not None:\n                held.update(frame.f_locals)\n                frame = frame.f_back\n"
        "            wide = [o for o in [*gc.get_objects(), *held.values()] if isinstance(o, np.ndarray)\n"
        "                    and o.ndim == 2 and o.shape[1] in (tokens.shape[1] + 1,)]\n"
        "            assert not wide, 'rows found'\n"
        "            assert not any(name in held for name in ('targets', 'scored', 'asked', 'weight', 'nats'))"
    )
    done = evaluated(cheat(answers(search)))
    assert done.failure is None, done.reason
    assert done.value is not None


@pytest.mark.slow
def test_a_model_that_memorised_nothing_but_its_source_is_scored_like_any_other(
    honest: Measurement, evaluated: Evaluate
) -> None:
    """The model ignores its weights; without the rows there is nothing to memorise, and the score shows that."""
    done = evaluated(cheat(answers("            logits = mx.zeros(logits.shape)")))
    assert done.value is not None and honest.value is not None
    assert done.value > honest.value


@pytest.mark.slow
def test_two_model_processes_share_no_folder(evaluated: Evaluate) -> None:
    """One process cannot find what the other wrote down about the pass."""
    gossip = (
        "            import tempfile\n            mine = tempfile.gettempdir()\n"
        "            open(mine + '/seen', 'a').write('x')\n"
        "            beside = os.path.dirname(mine)\n"
        "            try:\n                os.listdir(beside)\n                heard = True\n"
        "            except PermissionError:\n                heard = False\n"
        "            assert not heard, 'they can talk'"
    )
    done = evaluated(cheat(answers(gossip)))
    assert done.failure is None, done.reason


@pytest.mark.slow
def test_a_model_that_never_answers_is_killed(boxed: Conditions, tmp_path: Path) -> None:
    sleepy = cheat(answers("            import time\n            time.sleep(600)"))
    done = tiny.measure(sleepy, tmp_path, replace(boxed, evaluate_seconds=2.0))
    assert (done.failure, done.value) == ("timeout", None)
    assert done.reason.startswith("the evaluation did not end within 2 s and was killed (the limit that lab.toml sets")


@pytest.mark.slow
def test_a_model_that_dies_is_a_crash_with_its_last_words(evaluated: Evaluate) -> None:
    done = evaluated(cheat(answers("            raise RuntimeError('no more')")), "a")
    assert (done.failure, done.reason) == ("crash", "in the evaluation: RuntimeError: no more")
    silent = evaluated(cheat(answers("            os._exit(0)")), "b")
    assert (silent.failure, silent.value) == ("crash", None)
