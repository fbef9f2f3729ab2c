"""Each machine gets the sizes of the profile that fits it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoresearch_mlx.hardware.machine import Gpu, Machine
from autoresearch_mlx.hardware.profile import Profile, choose_profile
from autoresearch_mlx.lab.source import literal
from autoresearch_mlx.loop.session import preset_text

GB = 2**30


def machine(chip: str, gigabytes: int | None, kind: str | None = "metal") -> Machine:
    gpu = Gpu("cuda" if kind == "cuda" else "metal", chip) if kind else None
    memory = gigabytes * GB if gigabytes else None
    system, arch = ("Darwin", "arm64") if kind == "metal" else ("Linux", "x86_64")
    return Machine(system, arch, chip, 8, memory, None, gpu, "3.12.1", "0.32.4")


MACHINES = {
    "cpu": machine("Intel(R) Xeon(R) Processor", 24, kind=None),
    "mac-8gb": machine("Apple M1", 8),
    "mac-base": machine("Apple M4", 16),
    "mac-pro": machine("Apple M4 Pro", 24),
    "mac-max": machine("Apple M3 Max", 64),
    "mac-ultra": machine("Apple M2 Ultra", 192),
    "cuda": machine("NVIDIA H200", 128, kind="cuda"),
}


@pytest.mark.parametrize("name", MACHINES)
def test_each_kind_of_machine_has_its_profile(name: str) -> None:
    assert choose_profile(MACHINES[name]).name == name


@pytest.mark.parametrize(
    ("chip", "gigabytes", "name"),
    [
        ("Apple A18 Pro", 8, "mac-8gb"),  # Pro by its name, a phone chip by its size
        ("Apple M1 Pro", 16, "mac-base"),
        ("Apple M2", 24, "mac-base"),
        ("Apple M9", 32, "mac-base"),
        ("Apple M9 Ultra", 512, "mac-ultra"),
        ("Apple M4 Max", None, "mac-8gb"),  # unknown memory counts as small
    ],
)
def test_memory_counts_before_the_class_of_the_chip(chip: str, gigabytes: int | None, name: str) -> None:
    assert choose_profile(machine(chip, gigabytes)).name == name


def test_a_mac_without_a_usable_gpu_trains_on_its_cpu() -> None:
    profile = choose_profile(replace(MACHINES["mac-max"], arch="x86_64", gpu=None))
    assert (profile.name, profile.device) == ("cpu", "cpu")


@pytest.mark.parametrize("name", MACHINES)
def test_a_batch_is_whole_microbatches(name: str) -> None:
    profile = choose_profile(MACHINES[name])
    assert profile.knobs["TOTAL_BATCH_SIZE"] % microbatch(profile) == 0


@pytest.mark.parametrize("name", [n for n in MACHINES if n != "cuda"])
def test_only_cuda_accumulates_gradients(name: str) -> None:
    profile = choose_profile(MACHINES[name])
    assert profile.knobs["TOTAL_BATCH_SIZE"] == microbatch(profile)


def microbatch(profile: Profile) -> int:
    return profile.knobs["DEVICE_BATCH_SIZE"] * profile.seq_len


@pytest.mark.parametrize("name", MACHINES)
def test_profiles_hold_together(name: str) -> None:
    profile = choose_profile(MACHINES[name])
    knobs = profile.knobs
    assert knobs["DEPTH"] * knobs["ASPECT_RATIO"] % knobs["HEAD_DIM"] == 0
    assert set(knobs["WINDOW_PATTERN"]) <= {"S", "L"}
    assert min(profile.budget_seconds, profile.compile_seconds, profile.eval_rows, profile.margin) > 0
    assert profile.device == ("cpu" if name == "cpu" else "gpu")
    assert all(literal(value) for value in knobs.values())


def test_a_cpu_leaves_the_cap_alone_in_an_older_file_which_divides_by_it() -> None:
    older = "SOFTCAP = 15.0\nUNEMBEDDING_LR = 0.004\n"
    assert preset_text(older, choose_profile(MACHINES["cpu"]).knobs) == "SOFTCAP = 15.0\nUNEMBEDDING_LR = 0.012\n"


@pytest.mark.parametrize("name", [n for n in MACHINES if n.startswith("mac-")])
def test_no_mac_claims_to_have_been_measured(name: str) -> None:
    profile = choose_profile(MACHINES[name])
    assert profile.why.endswith("not measured by us.")
    assert MACHINES[name].chip in profile.why


def test_evaluation_scores_what_the_neighbours_score() -> None:
    tokens = {name: p.eval_rows * p.seq_len for name, m in MACHINES.items() if (p := choose_profile(m))}
    assert tokens["mac-8gb"] == tokens["mac-base"] == 524288
    assert tokens["mac-pro"] == tokens["mac-max"] == tokens["mac-ultra"] == 3 * 524288
    assert tokens["cuda"] == 40 * 524288


def test_cuda_starts_from_upstreams_constants() -> None:
    profile = choose_profile(MACHINES["cuda"])
    assert dict(profile.knobs) == {
        "DEPTH": 8,
        "ASPECT_RATIO": 64,
        "HEAD_DIM": 128,
        "WINDOW_PATTERN": "SSSL",
        "TOTAL_BATCH_SIZE": 2**19,
        "DEVICE_BATCH_SIZE": 128,
    }
    assert (profile.budget_seconds, profile.vocab_size, profile.seq_len) == (300, 8192, 2048)
    assert profile.memory_limit_bytes is None


def test_a_run_leaves_memory_to_the_rest_of_the_machine() -> None:
    for name, one in MACHINES.items():
        limit = choose_profile(one).memory_limit_bytes
        assert name == "cuda" or GB < limit < 0.75 * one.memory_bytes
    assert choose_profile(replace(MACHINES["cpu"], memory_bytes=None)).memory_limit_bytes is None


def test_a_run_that_eats_the_machine_has_an_end() -> None:
    for one in MACHINES.values():
        profile = choose_profile(one)
        assert profile.run_memory_bytes is not None
        assert (profile.memory_limit_bytes or 0) < profile.run_memory_bytes <= 0.8 * one.memory_bytes
        assert profile.run_folder_bytes > profile.free_disk_bytes > 0
    assert choose_profile(replace(MACHINES["cpu"], memory_bytes=None)).run_memory_bytes is None


def test_a_run_on_a_mac_may_take_what_mlx_may_and_a_little_beside_it() -> None:
    profile = choose_profile(MACHINES["mac-pro"])
    assert profile.memory_limit_bytes is not None
    assert profile.run_memory_bytes == profile.memory_limit_bytes + 2 * GB
    assert choose_profile(MACHINES["cuda"]).run_memory_bytes == 0.75 * 128 * GB
