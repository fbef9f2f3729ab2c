"""Whose failure it is: real child processes that end as drivers, memory killers and full disks end them."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_training as tiny

from autoresearch_mlx.experiment import Assignment, Measurement
from autoresearch_mlx.targets.command.program import Command
from autoresearch_mlx.trial.blame import blame
from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.readings import Reading, take_reading
from autoresearch_mlx.trial.runner import Ended, child_process_environment

GB = 2**30
METAL = "RuntimeError: [METAL] Command buffer execution failed: "
MACHINE = [
    METAL + "Impacting Interactivity (0000000e:kIOGPUCommandBufferCallbackErrorImpactingInteractivity)",
    METAL + "Discarded (victim of GPU error/recovery) (00000005:kIOGPUCommandBufferCallbackErrorInnocentVictim)",
    "Ignored (for causing prior/excessive GPU errors) (00000004:kIOGPUCommandBufferCallbackErrorSubmissionsIgnored)",
    METAL + "Caused GPU Timeout Error (00000002:kIOGPUCommandBufferCallbackErrorTimeout)",
    METAL + "Impacting Interactivity",
    METAL + "Caused GPU Hang Error (00000003:kIOGPUCommandBufferCallbackErrorHang)",
    METAL + "Internal Error (0000000e:Internal Error)",
    "*** Terminating app due to uncaught exception 'NSRangeException', "
    "reason: '*** -[__NSArray0 objectAtIndex:]: index 0 beyond bounds for empty NSArray'",
    "RuntimeError: [metal::load_device] No Metal device available. This typically occurs in headless sessions.",
    "RuntimeError: cudaStreamSynchronize failed: the launch timed out and was terminated",
    "RuntimeError: CUDA error: uncorrectable ECC error encountered",
    "RuntimeError: cudaSetDevice failed: CUDA-capable device(s) is/are busy or unavailable",
    "RuntimeError: cudaErrorNoDevice: no CUDA-capable device is detected",
    "OSError: [Errno 28] No space left on device: '/tmp/x'",
    "cc1plus: fatal error: error writing to /tmp/ccX.s: No space left on device",
    "OSError: [Errno 5] Input/output error: 'rows.npy'",
]
TOOL = [
    "cl2Metal failed",
    "unable to open output file '/x/com.apple.metalfe/1/opencl_c-1.pcm': 'Operation not permitted'",
    "RuntimeError: [metal::Device] Unable to load kernel affine_qmm_t_nax_bfloat16_t_gs_64_b_4_bm64_bn64_bk64_wm2_w",
    "RuntimeError: Failed to load the default metallib. This library is using language version 4.0 which is not",
    "ModuleNotFoundError: No module named 'mlx'",
]
CANDIDATE = [
    METAL + "Caused GPU Address Fault Error (0000000b:kIOGPUCommandBufferCallbackErrorPageFault)",
    "RuntimeError: CUDA error: an illegal memory access was encountered",
    "ValueError: [matmul] Last dimension of first input with shape (2,3) must match",
    "ModuleNotFoundError: No module named 'mlx.bogus'",
    "PermissionError: [Errno 13] Permission denied: 'rows.npy'",
    "NameError: name 'gelu' is not defined",
]


def measured(folder: Path, line: str) -> Measurement:
    for name in ("tree", "runs"):
        (folder / name).mkdir(exist_ok=True)
    target = Command(run=line, metric="score", direction="min")
    return target.measure(Assignment(folder / "tree", folder / "runs", 42, lambda progress: None))


def raising(folder: Path, text: str, end: str = "exit 1") -> Measurement:
    (folder / "said").write_text(text)
    return measured(folder, f"echo METRIC score=1; cat '{folder}/said' >&2; {end}")


@pytest.mark.parametrize("text", MACHINE)
def test_an_error_of_the_machine_taints_the_run(tmp_path: Path, text: str) -> None:
    done = raising(tmp_path, text, "kill -ABRT $$" if text.startswith(METAL) else "exit 1")
    assert (done.tainted, done.value, done.failure, done.extra["fault"]) == (True, None, "interrupted", "machine")
    assert done.reason.startswith("not the file's failure: ")
    assert done.extra["next_step"]


@pytest.mark.parametrize("text", TOOL)
def test_an_error_of_the_installation_is_the_tools(tmp_path: Path, text: str) -> None:
    done = raising(tmp_path, text)
    assert (done.tainted, done.extra["fault"]) == (True, "tool")


@pytest.mark.parametrize("text", CANDIDATE)
def test_an_error_that_programs_cause_stays_the_candidates(tmp_path: Path, text: str) -> None:
    done = raising(tmp_path, text)
    assert (done.tainted, done.failure, done.extra) == (False, "crash", {})


SAMPLES = Path(__file__).parent / "samples"
PUBLIC = [
    (name, line)
    for name in ("metal-errors", "metal-no-device-in-sandbox", "mlx-wheel-minos", "sandbox-metalfe-denied")
    for line in (SAMPLES / f"{name}.txt").read_text().splitlines()
    if line.startswith(("RuntimeError", "cl2Metal"))
]


@pytest.mark.parametrize(("name", "line"), PUBLIC, ids=[f"{name}-{at}" for at, (name, _) in enumerate(PUBLIC)])
def test_an_error_that_others_have_published_is_no_crash(name: str, line: str, tmp_path: Path) -> None:
    done = raising(tmp_path, line)
    assert (done.tainted, done.value, done.failure) == (True, None, "interrupted")
    assert done.extra["fault"] == ("machine" if name.startswith("metal") else "tool")


def test_a_run_that_ends_well_counts_whatever_it_printed(tmp_path: Path) -> None:
    done = raising(tmp_path, MACHINE[0], "exit 0")
    assert (done.value, done.tainted) == (1.0, False)


def test_a_wrapper_that_hides_the_exit_code_hides_nothing(tmp_path: Path) -> None:
    done = measured(tmp_path, f"( echo '{MACHINE[0].replace('RuntimeError: ', '')}'; exit 1 ) | cat")
    assert (done.failure, done.tainted) == ("interrupted", True)


def test_a_real_full_disk(tmp_path: Path) -> None:
    done = measured(tmp_path, f"{sys.executable} -S -c \"open('/dev/full', 'wb', buffering=0).write(b'x')\"")
    assert done.tainted and "No space left on device" in done.extra["tainted"]


# --- evidence from the state of the machine

CALM = Reading(memory_bytes=32 * GB, memory_free=20 * GB, kills=3, disk_bytes=500 * GB, disk_free=100 * GB, mains=True)


def ended(
    code: int, before: Reading = CALM, after: Reading | None = None, own: float = 2 * GB, wrote: int | None = None
) -> Ended:
    return Ended(code, None, 1.0, own / 2**20, before=before, after=after or before, wrote_bytes=wrote)


def party(how: Ended, folder: Path, text: str = "") -> str:
    (folder / "log.txt").write_text(text)
    return blame(how, folder / "log.txt").party


@pytest.mark.parametrize("code", [-9, 137, -15])
@pytest.mark.parametrize(
    ("after", "own", "whose"),
    [
        pytest.param(CALM, 2 * GB, "candidate", id="memory was free: it killed itself"),
        pytest.param(replace(CALM, memory_free=10 * GB), 2 * GB, "machine", id="others took memory meanwhile"),
        pytest.param(replace(CALM, memory_free=1 * GB), 2 * GB, "machine", id="others hold nearly all"),
        pytest.param(replace(CALM, kills=4), 2 * GB, "machine", id="the kernel killed, and the run was small"),
        pytest.param(replace(CALM, kills=4), 19 * GB, "candidate", id="the kernel killed a run that took all"),
        pytest.param(replace(CALM, memory_free=10 * GB), 19 * GB, "candidate", id="it took all that was free"),
        pytest.param(Reading(), 2 * GB, "candidate", id="nothing is known"),
    ],
)
def test_a_killed_run(code: int, after: Reading, own: float, whose: str, tmp_path: Path) -> None:
    assert party(ended(code, after=after, own=own), tmp_path) == whose


@pytest.mark.parametrize(
    "text",
    [
        METAL + "Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)",
        "MemoryError",
        "terminate called after throwing an instance of 'std::bad_alloc'",
    ],
)
def test_memory_that_ran_out_is_the_machines_only_when_others_took_it(text: str, tmp_path: Path) -> None:
    assert party(ended(1), tmp_path, text) == "candidate"
    assert party(ended(1, after=replace(CALM, memory_free=8 * GB)), tmp_path, text) == "machine"


def test_a_disk_that_the_run_itself_filled_is_the_candidates(tmp_path: Path) -> None:
    text, full = "OSError: [Errno 28] No space left on device", replace(CALM, disk_free=0)
    assert party(ended(1, after=full, wrote=90 * GB), tmp_path, text) == "candidate"
    assert party(ended(1, after=full, wrote=1000), tmp_path, text) == "machine"


def test_a_run_that_ran_late_because_the_plug_was_pulled(tmp_path: Path) -> None:
    late = replace(ended(-9, after=replace(CALM, mains=False)), killed="did not end within 600 s; killed")
    assert party(late, tmp_path) == "machine"
    assert party(replace(late, after=CALM), tmp_path) == "candidate"


def test_what_the_training_printed_explains_no_failure_of_the_evaluation(tmp_path: Path) -> None:
    assert party(ended(1), tmp_path, f"{MACHINE[0]}\n--- evaluation ---\nKeyError: 3\n") == "candidate"
    assert party(ended(1), tmp_path, f"fine\n--- evaluation ---\n{MACHINE[0]}\n") == "machine"


def test_the_machine_is_read_here(tmp_path: Path) -> None:
    now = take_reading(tmp_path)
    assert now.memory_bytes and now.memory_free and now.memory_free < now.memory_bytes
    assert now.disk_free is not None and now.disk_free <= (now.disk_bytes or 0)
    assert take_reading(tmp_path / "gone").disk_free is None


def test_children_ask_apples_driver_for_patience_unless_the_person_has_said_otherwise() -> None:
    name = "AGX_RELAX_CDM_CTXSTORE_TIMEOUT"
    assert child_process_environment({})[name] == os.environ.get(name, "1")
    assert child_process_environment({name: "0"})[name] == "0"


# --- the training target

METAL_LINE = f'raise RuntimeError("{MACHINE[0].removeprefix("RuntimeError: ")}")'


@pytest.mark.parametrize(
    "line",
    [
        METAL_LINE,
        "import sys; sys.stderr.write('CUDA error: uncorrectable ECC error encountered\\n'); import os; os.abort()",
        "open('/dev/full', 'wb', buffering=0).write(b'x')",
    ],
    ids=["Metal", "CUDA", "disk"],
)
def test_a_training_that_the_machine_ends_is_tainted(line: str, under: Conditions, tmp_path: Path) -> None:
    text = tiny.script().replace("    rows, passes = batch", f"    {line}\n    rows, passes = batch", 1)
    done = tiny.measure(text, tmp_path, replace(under, steps=2))
    assert (done.tainted, done.value, done.failure, done.extra["fault"]) == (True, None, "interrupted", "machine")


@pytest.mark.slow
def test_an_evaluation_that_the_machine_ends_is_tainted(under: Conditions, tmp_path: Path) -> None:
    start = f"\nimport sys\nif 'autoresearch_mlx.trial.logits' in sys.orig_argv:\n    {METAL_LINE}\ndef build_model("
    text = tiny.script().replace("\ndef build_model(", start, 1)
    done = tiny.measure(text, tmp_path, replace(under, steps=2))
    assert (done.tainted, done.failure, done.extra["fault"]) == (True, "interrupted", "machine")


def test_a_loss_that_is_no_number_is_the_candidates_whatever_it_prints(under: Conditions, tmp_path: Path) -> None:
    said = f"print({MACHINE[0]!r})\n    rows, passes = batch"
    text = tiny.script().replace("    rows, passes = batch", f"    {said}", 1)
    text = text.replace("loss = whole_step(*batch[0], now)", "loss = mx.array(float('nan'))", 1)
    done = tiny.measure(text, tmp_path, replace(under, steps=2))
    assert (done.tainted, done.failure) == (False, "crash") and "the loss is nan" in done.reason
