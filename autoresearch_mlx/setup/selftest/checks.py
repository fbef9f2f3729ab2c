"""List the checks of the self-test, in the order in which they run."""

from __future__ import annotations

from autoresearch_mlx.setup.selftest.check import Check
from autoresearch_mlx.setup.selftest.machine_checks import (
    check_awake,
    check_clocks,
    check_memory,
    check_products,
    check_speed,
    check_text,
    check_the_sandbox,
)
from autoresearch_mlx.setup.selftest.night import check_agent, check_resume
from autoresearch_mlx.setup.selftest.outputs import check_outputs
from autoresearch_mlx.setup.selftest.runs import check_evaluations, check_training

CHECKS = (
    Check("outputs", "the outputs of the system's programs are read", 30, check_outputs),
    Check("text", "there is text to train on", 240, check_text),
    Check("products", "MLX's results agree with numpy's", 90, check_products),
    Check("sandbox", "the sandbox refuses forbidden access, and MLX works in it", 150, check_the_sandbox),
    Check("memory", "a run that takes too much memory is ended", 60, check_memory),
    Check("awake", "the helper that keeps the machine awake works", 30, check_awake),
    Check("clocks", "a sleep of the machine is noticed", 240, check_clocks),
    Check("speed", "the speed probe gives the same figure again and again", 120, check_speed),
    Check("evaluations", "twenty evaluations of the same weights give the same score", 240, check_evaluations),
    Check("training", "a compiled step and a plain step train equally well", 300, check_training),
    Check("resume", "a run continues after kill -9 and loses nothing", 300, check_resume),
    Check("agent", "the agent, or a server of models, is found", 60, check_agent),
)


def check_named(name: str) -> Check:
    """Return the check with this name.  Raises KeyError if there is no such check."""
    return {check.name: check for check in CHECKS}[name]
