"""A gallery of cheats in training: real scripts that really run, each in this machine's sandbox.

Each ends with a named status and a reason, or gains nothing.  The bombs are small and end by themselves.
"""

from __future__ import annotations

import json
import os
import re
import socket
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import tiny_training as tiny
from conftest import Recorder, git, opened

from autoresearch_mlx.experiment import Context, Measurement, Proposal, Usual
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop.policy import Policy
from autoresearch_mlx.loop.research import research
from autoresearch_mlx.store.ledger import FILE
from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.sandbox.detect import Sandbox
from autoresearch_mlx.trial.sandbox.limits import Limits

pytestmark = pytest.mark.uncounted

TRAIN = "    rows, passes = batch_shape(trial.seq_len)\n"
LIMITS = Limits(memory_bytes=600_000_000, folder_bytes=20_000_000, free_bytes=1_000_000)


@pytest.fixture(scope="module")
def confined(under: Conditions, sandbox: Sandbox) -> Conditions:
    return replace(under, sandbox=sandbox, limits=LIMITS, steps=2)


def first(lines: str) -> str:
    """Return the script with these lines at the start of training."""
    text = tiny.script()
    assert text.count(TRAIN) == 1
    indented = "".join(f"    {line}\n" for line in lines.strip().splitlines())
    return text.replace(TRAIN, indented + TRAIN)


def earliest(lines: str) -> str:
    """Return the script with these lines before any module of this package is imported."""
    return f"{lines}\n{tiny.script()}"


def ends_as(done: Measurement, status: str, reason: str) -> None:
    assert (done.failure, done.value) == (status, None), done.reason
    assert re.search(reason, done.reason), done.reason


DENIED = "PermissionError.*(denied|not permitted)"


# --- scores and clocks

AHEAD = "import time\n_real = time.monotonic\ntime.monotonic = lambda: 1000 * _real()\ntime.time = time.monotonic"


@pytest.mark.slow
def test_a_script_that_tells_its_own_score_gains_nothing(confined: Conditions, tmp_path: Path) -> None:
    honest = tiny.measure(tiny.script(), tmp_path / "a", confined)
    told = "print('val_bpb: -37.8', flush=True)\nimport json, os\n"
    told += "line = json.dumps({'event': 'evaluated', 'value': -37.8}) + '\\n'\n"
    told += "os.write(int(os.environ['AUTORESEARCH_EVENTS_FD']), line.encode())"
    boasting = tiny.measure(first(told), tmp_path / "b", confined)
    assert honest.failure is None, honest.reason
    assert "val_bpb: -37.8" in (tmp_path / "b" / "run" / "log.txt").read_text()
    assert boasting.value == tiny.score(honest.value)


def test_a_clock_that_runs_ahead_makes_no_shorter_run(confined: Conditions, tmp_path: Path) -> None:
    done = tiny.measure(earliest(AHEAD), tmp_path, replace(confined, steps=None))
    ends_as(done, "invalid", r"training stopped after 0\.\d s of its budget of 0\.5 s")


@pytest.mark.slow
def test_a_clock_that_stands_still_makes_no_longer_run(confined: Conditions, tmp_path: Path) -> None:
    """The parent serves no batch after the budget."""
    still = "import time\ntime.monotonic = time.time = time.perf_counter = lambda: 1.0"
    done = tiny.measure(earliest(still), tmp_path, replace(confined, steps=None))
    assert done.failure is None, done.reason
    assert done.seconds.train is not None and done.seconds.train < 4.0


def test_a_first_step_padded_with_training_is_counted_as_training(confined: Conditions, tmp_path: Path) -> None:
    """After the allowance for compiling, the budget's clock runs whether a step was reported or not."""
    text = first("import time\nnext(trial.batches(8))\ntime.sleep(2.2)")
    done = tiny.measure(text, tmp_path, replace(confined, steps=None, compile_seconds=1.0))
    ends_as(done, "invalid", "the script logged no steps")


@pytest.mark.slow
def test_a_last_step_padded_with_training_is_invalid(confined: Conditions, tmp_path: Path) -> None:
    text = tiny.script()
    (logs,) = (line for line in text.splitlines() if "trial.log(" in line)
    more = f"{logs}\n    import time\n    time.sleep(4.5)"
    done = tiny.measure(text.replace(logs, more), tmp_path, replace(confined, steps=None))
    ends_as(done, "invalid", r"training went on for [4-9]\.\d s after its budget of 0\.5 s")


def test_a_first_step_without_end_is_killed(confined: Conditions, tmp_path: Path) -> None:
    text = first("import time\nnext(trial.batches(8))\ntime.sleep(60)")
    done = tiny.measure(text, tmp_path, replace(confined, steps=None, compile_seconds=0.5))
    ends_as(done, "timeout", "the first step did not end within 2 s; killed")


# --- time that the budget does not count, against what the baseline took

USUAL = Usual(
    start=1.0, compile=0.3, ending=0.3, ending_cpu=0.3, evaluate=1.0, evaluate_cpu=1.5, num_params=30_000, tables=1
)
BUSY = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end: np.ones(1000).sum()\n"
BUSY_AT_START = BUSY.format(2.0).replace("np.ones(1000).sum()", "pass").replace("\n", "\n    ")
IN_TRAINING, IN_EVALUATION = (
    f"import os\nif 'AUTORESEARCH_TRAIN_SPEC' {word} os.environ:\n    {{}}" for word in ("in", "not in")
)
TOLD = "import json, os\n"
TOLD += "event = {'event': 'trained', 'steps': 9, 'tokens': 9, 'loss': 2.0}\n"
TOLD += "os.write(int(os.environ['AUTORESEARCH_EVENTS_FD']), (json.dumps(event) + chr(10)).encode())\n"


def at_the_end(lines: str) -> str:
    """Return the script with these lines after training has ended."""
    indented = "".join(f"    {line}\n" for line in lines.strip().splitlines())
    return tiny.script().replace("\n\ndef groups(", f"{indented}\n\ndef groups(", 1)


def logged(lines: str) -> str:
    """Return the script with these lines before its first step is logged."""
    (logs,) = (line for line in tiny.script().splitlines() if "trial.log(" in line)
    indented = "".join(f"            {line}\n" for line in lines.strip().splitlines())
    return tiny.script().replace(logs, f"        if step == 0:\n{indented}{logs}")


def built(lines: str) -> str:
    """Return the script with these lines in build_model, which the evaluation calls too."""
    build = """    model = GPT(vocab_size, seq_len)\n"""
    assert tiny.script().count(build) == 1
    indented = "".join(f"    {line}\n" for line in lines.strip().splitlines())
    return tiny.script().replace(build, indented + build)


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(logged(BUSY.format(1.5)), id="in the first step"),
        pytest.param(first("rows = list(islice(trial.batches(8), 2))\n" + BUSY.format(1.5)), id="before it is logged"),
        pytest.param(earliest(IN_TRAINING.format(BUSY_AT_START)), id="in the start"),
    ],
)
def test_time_before_the_budget_is_taken_from_it(text: str, confined: Conditions, tmp_path: Path) -> None:
    usual = replace(USUAL, start=0.0)  # the start may take one second
    done = tiny.measure(text, tmp_path, replace(confined, steps=None, budget_seconds=0.5), usual=usual)
    assert done.steps == 1 or done.failure in ("invalid", "timeout"), done


LATER = "import atexit\n@atexit.register\ndef more():\n    " + BUSY.format(1.5).replace("\n", "\n    ")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        pytest.param(at_the_end(TOLD + BUSY.format(1.5)), None, id="in saving"),
        pytest.param(at_the_end(BUSY.format(1.5)), None, id="in the last step"),
        pytest.param(at_the_end(LATER), 24 * 256, id="after saving"),
    ],
)
def test_time_after_the_budget_is_bounded(text: str, tokens: int | None, confined: Conditions, tmp_path: Path) -> None:
    budget = replace(confined, steps=None, budget_tokens=tokens, budget_seconds=0.5 if tokens is None else 60.0)
    done = tiny.measure(text, tmp_path, budget, usual=USUAL)
    late = r"the run went on for .* s after its budget, and the baseline for 0\.3 s|training went on for"
    assert done.value is None and re.search(f"{late}|; killed", done.reason), done.reason


@pytest.mark.slow
def test_training_in_the_evaluation_takes_time_that_is_bounded(confined: Conditions, tmp_path: Path) -> None:
    text = built(IN_EVALUATION.format(BUSY.format(0.9).replace("\n", "\n    ")))  # in both processes of the evaluation
    done = tiny.measure(text, tmp_path, confined, usual=replace(USUAL, evaluate_cpu=0.5))
    ends_as(done, "invalid", r"the evaluation took .* and the baseline's took 1\.0 s")


# --- what is saved and reported

INTEGERS = at_the_end("model.rows = mx.zeros((64, 33), dtype=mx.uint16)")
LARGE = first("model.more = mx.zeros((800, 800))")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(INTEGERS, "weights are of type U16", id="rows among the weights"),
        pytest.param(LARGE, r"weights, but only 480,000 are allowed: 16 times", id="many weights"),
        pytest.param(
            logged("trial.steps_logged = 10**15"), r"reported 1,000,000,000,000,00\d steps, but \d batches", id="steps"
        ),
    ],
)
def test_what_is_saved_and_told_is_bounded(text: str, reason: str, confined: Conditions, tmp_path: Path) -> None:
    ends_as(tiny.measure(text, tmp_path, confined, usual=USUAL), "invalid", reason)


# --- rows


@pytest.mark.parametrize("rows", ["train", "val", "hidden"])
def test_rows_cannot_be_opened(rows: str, confined: Conditions, tmp_path: Path) -> None:
    """The path of the rows is no secret, but the training rows come from the parent alone."""
    opens = f"trial._rows = np.load({str(confined.val_rows.with_name(rows + '.npy'))!r})"
    done = tiny.measure(first(opens), tmp_path, confined)
    ends_as(done, "crash", rf"{DENIED}.*{rows}\.npy")


def test_another_rows_path_in_the_specification_is_of_no_use(confined: Conditions, tmp_path: Path) -> None:
    hidden = confined.val_rows.with_name("hidden.npy")
    for path in (confined.val_rows, hidden):
        done = tiny.measure(
            earliest(f"import os\nos.stat({str(path)!r})\nopen({str(path)!r}, 'rb')"), tmp_path / path.stem, confined
        )
        ends_as(done, "crash", DENIED)


# --- processes and the network


def test_a_child_that_would_outlive_it_cannot_leave(confined: Conditions, tmp_path: Path) -> None:
    text = first("import subprocess\nsubprocess.Popen(['sleep', '30'], start_new_session=True)")
    ends_as(tiny.measure(text, tmp_path, confined), "crash", DENIED)


@pytest.mark.slow
def test_a_child_that_stays_behind_ends_with_the_run(confined: Conditions, tmp_path: Path) -> None:
    text = first("import subprocess\nprint('child', subprocess.Popen(['sleep', '30']).pid, flush=True)")
    done = tiny.measure(text, tmp_path, confined)
    assert done.failure is None, done.reason
    assert is_gone(told_pid(tmp_path))


@pytest.mark.slow
def test_without_a_sandbox_a_child_that_left_the_group_is_found_and_killed(
    confined: Conditions, tmp_path: Path
) -> None:
    text = first(
        "import subprocess\nprint('child', subprocess.Popen(['sleep', '30'], start_new_session=True).pid, flush=True)"
    )
    done = tiny.measure(text, tmp_path, replace(confined, sandbox=None))
    assert done.failure is None, done.reason
    assert is_gone(told_pid(tmp_path))


def told_pid(folder: Path) -> int:
    said = re.search(r"^child (\d+)$", (folder / "run" / "log.txt").read_text(), re.MULTILINE)
    assert said is not None
    return int(said.group(1))


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_socket_cannot_be_opened(confined: Conditions, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        text = first(f"import socket\nsocket.create_connection(('127.0.0.1', {listener.getsockname()[1]}), 5)")
        ends_as(tiny.measure(text, tmp_path, confined), "crash", DENIED)


@pytest.mark.slow
def test_a_fork_bomb_is_killed_whole(confined: Conditions, tmp_path: Path) -> None:
    bomb = "import os, time\nfor _ in range(150):\n    if os.fork() == 0: time.sleep(20); os._exit(0)\ntime.sleep(20)"
    done = tiny.measure(first(bomb), tmp_path, confined)
    ends_as(done, "crash", r"the run had \d+ processes, and a run may have 32; killed")
    mine = str(tmp_path)
    left = [p for p in psutil.process_iter(["cmdline"]) if any(mine in word for word in p.info["cmdline"] or ())]
    assert [p for p in left if p.status() != psutil.STATUS_ZOMBIE] == []


# --- files, disk and memory


@pytest.mark.parametrize("where", ["home", "tree", "ledger", "beside the run", "corpus", "shared temporary folder"])
def test_nothing_is_written_outside_the_run_folder(where: str, confined: Conditions, tmp_path: Path) -> None:
    (tmp_path / "ledger.jsonl").write_text("kept")
    target = {
        "home": Path.home() / f".made-{os.getpid()}",
        "tree": tmp_path / "tree" / "train_mlx.py",
        "ledger": tmp_path / "ledger.jsonl",
        "beside the run": tmp_path / "made",
        "corpus": confined.train_rows,
        "shared temporary folder": Path("/tmp") / f"made-{os.getpid()}",
    }[where]
    before = target.read_bytes() if target.exists() else None
    text = first(f"open({str(target)!r}, 'ab').write(b'x')")
    ends_as(tiny.measure(text, tmp_path, confined), "crash", DENIED)
    if where == "tree":
        before = text.encode()
    assert (target.read_bytes() if target.exists() else None) == before


def test_filling_the_disk_ends_with_the_reason(confined: Conditions, tmp_path: Path) -> None:
    fills = "import os, time\nfrom pathlib import Path\nfolder = Path(os.environ['TMPDIR'])\nfor i in range(40):\n"
    fills += "    (folder / str(i)).write_bytes(bytes(2_000_000))\n    time.sleep(0.05)\ntime.sleep(20)"
    done = tiny.measure(first(fills), tmp_path, confined)
    ends_as(done, "crash", r"the run wrote \d+ MB into its folder, and a run may write 20 MB; killed")
    assert not (tmp_path / "run" / "tmp").exists(), "what it wrote there is removed"


def test_one_huge_file_is_refused_by_the_kernel(confined: Conditions, tmp_path: Path) -> None:
    # Only its end is written, which takes no space; otherwise the parent too might see that the folder is too large.
    fills = "import os\nfile = os.open(os.path.join(os.environ['TMPDIR'], 'big'), os.O_WRONLY | os.O_CREAT)\n"
    fills += "os.pwrite(file, bytes(1000), 60_000_000)"
    ends_as(tiny.measure(first(fills), tmp_path, confined), "crash", "File too large")


EATS = """
import time
blocks = []
for _ in range(61):  # with what Python and MLX take, a little over the limit
    blocks.append(np.ones(1_250_000))
    time.sleep(0.02)
time.sleep(20)
"""


@pytest.mark.slow
def test_eating_memory_ends_with_the_reason(confined: Conditions, tmp_path: Path) -> None:
    done = tiny.measure(first(EATS), tmp_path, confined)
    ends_as(done, "crash", r"the run used 0\.6 GB of memory, and a run may use 0\.6 GB; killed")


def test_memory_that_is_asked_for_faster_than_the_parent_looks_is_not_given(
    confined: Conditions, tmp_path: Path
) -> None:
    text = first("block = np.ones(200_000_000)")
    ends_as(tiny.measure(text, tmp_path, confined), "crash", "Unable to allocate|MemoryError|it used")


# --- through the whole loop

TOML = tiny.settings(
    0.5,
    """\
[judge]
mode = "margin"
margin = 0.0
replicates = 1

[agent]
repairs = 0

[limits]
memory_gb = 0.6
""",
)


class Cheats:
    """An agent that proposes one script after the other."""

    name = "cheats"

    def __init__(self, texts: list[str]) -> None:
        self._texts = texts

    def propose(self, context: Context) -> Proposal:
        return Proposal("a cheat", {"train_mlx.py": self._texts.pop(0)}, agent=self.name)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return tiny.lab(tmp_path / "lab", TOML)


@pytest.mark.slow
def test_a_night_of_cheats_leaves_the_incumbent_and_the_ledger_as_they_were(
    confined: Conditions, lab: Lab, screen: Recorder
) -> None:
    assert confined.sandbox is not None
    assert (lab.folder("t") / FILE).name == "ledger.jsonl"
    cheats = [  # a training runs in the worktree, which lies beside the ledger
        first("open('../ledger.jsonl', 'a').write('x')"),
        first("open('train_mlx.py', 'w').write('x')"),
        first(EATS),
        earliest(AHEAD),
    ]
    with opened(lab, "t") as session:
        research(session, Cheats(cheats), Policy(experiments=len(cheats)), screen)
        history, folder = session.journal().history, session.folder
    told = [(e.number, e.status, e.reason) for e in history.experiments]
    assert [(number, status) for number, status, _ in told] == [
        (0, "keep"),
        (1, "crash"),
        (2, "crash"),
        (3, "crash"),
        (4, "invalid"),
    ], told
    assert all(re.search(DENIED, reason) for _, _, reason in told[1:3]), told
    assert "of memory, and a run may use" in told[3][2]
    assert "training stopped after" in told[4][2]
    baseline = history.experiments[0]
    assert history.incumbent == baseline
    assert baseline.measurements[0].machine["sandbox"] == confined.sandbox.words
    assert git(lab.root, "rev-parse", "autoresearch/t") == baseline.commit
    assert git(folder / "worktree", "status", "--porcelain") == ""


# --- and what is allowed


HONEST = """
import os, shutil, subprocess, tempfile, threading
from pathlib import Path
with tempfile.TemporaryDirectory() as folder:
    (Path(folder) / 'a').write_text('1')
    shutil.copyfile(Path(folder) / 'a', Path(folder) / 'b')
    assert (Path(folder) / 'b').read_text() == '1'
ran = []
thread = threading.Thread(target=lambda: ran.append(1))
thread.start(); thread.join()
assert ran == [1]
subprocess.run(['true'], check=True)
assert os.cpu_count() and os.path.expanduser('~') and Path(__file__).read_text()
"""


@pytest.mark.slow
def test_an_honest_script_with_files_threads_and_a_program_works(confined: Conditions, tmp_path: Path) -> None:
    plain = tiny.measure(tiny.script(), tmp_path / "a", replace(confined, sandbox=None))
    done = tiny.measure(first(HONEST), tmp_path / "b", confined)
    assert done.failure is None, done.reason
    assert done.value == tiny.score(plain.value)


@pytest.mark.slow
def test_keys_and_tokens_of_the_environment_do_not_reach_it(confined: Conditions, tmp_path: Path) -> None:
    secret = {"MY_API_KEY": "k", "HF_TOKEN": "t", "PLAIN": "p"}
    text = first(
        "import json, os\nprint('has', json.dumps(sorted({'MY_API_KEY', 'HF_TOKEN', 'PLAIN'} & set(os.environ))))"
    )
    environment = {**confined.environment, **secret}
    done = tiny.measure(text, tmp_path, replace(confined, environment=environment))
    assert done.failure is None, done.reason
    said = re.search(r"^has (.*)$", (tmp_path / "run" / "log.txt").read_text(), re.MULTILINE)
    assert said is not None and json.loads(said.group(1)) == ["PLAIN"]


@pytest.mark.slow
def test_the_time_of_training_is_the_parents_whatever_the_script_tells(confined: Conditions, tmp_path: Path) -> None:
    """One script reports at its first step that training is over; another waits between its last step and its end."""
    early = tiny.measure(logged(TOLD), tmp_path / "early", replace(confined, steps=None, budget_seconds=1.0))
    assert early.value is None or (early.seconds.train or 0.0) < 0.5, "no batch came after that"
    late = at_the_end("import time\ntime.sleep(1.5)")
    counted = replace(confined, steps=None, budget_seconds=60.0, budget_tokens=24 * 256)  # the parent refuses a batch
    done = tiny.measure(late, tmp_path / "late", counted)
    assert done.seconds.train is not None and done.seconds.train < 1.5
    assert done.extra["ending_seconds"] > 1.4
