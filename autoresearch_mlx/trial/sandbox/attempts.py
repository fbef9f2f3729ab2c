"""Try, from inside the sandbox, actions that must fail and actions that must work:

    python -P -m autoresearch_mlx.trial.sandbox.attempts ATTEMPTS

ATTEMPTS is a JSON object.  Each key is an action, and its value is a list of what the action is tried on:

- ``read``, ``change``, ``make``: paths
- ``connect``: a host with a port, or the path of a socket
- ``signal``: a process id
- ``product``, ``compiled``: the name of a device of MLX

The program prints one line of JSON for each attempt: the action, what it was tried on, and the outcome.  The outcome
is ``works``, ``denied`` or an error message.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Outcome = str
WORKS, DENIED = "works", "denied"
_TOLERANCE = 0.01
"""Largest accepted difference from numpy's result, divided by the largest value of that result.

Products in TF32, the reduced precision of NVIDIA cards, differ by less.
"""


def main(text: str) -> None:
    attempts: dict[str, list[Any]] = json.loads(text)
    tries: dict[str, Callable[[Any], object]] = {
        "read": _read,
        "change": _change,
        "make": _make,
        "connect": _connect,
        "signal": _signal,
        "product": _product,
        "compiled": _compiled,
    }
    for what, objects in attempts.items():
        for of in objects:
            print(json.dumps([what, of, _outcome(partial(tries[what], of))]), flush=True)


def _outcome(attempt: Callable[[], object]) -> Outcome:
    try:
        attempt()
    except PermissionError:
        return DENIED
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return WORKS


def _read(path: str) -> None:
    """Read the first byte of a file, or the names in a folder."""
    if Path(path).is_dir():
        list(Path(path).iterdir())
        return
    with Path(path).open("rb") as file:
        file.read(1)


def _change(path: str) -> None:
    """Open a file for writing without writing anything."""
    os.close(os.open(path, os.O_WRONLY))


def _make(path: str) -> None:
    """Make a new file and remove it.

    The file's name ends in this process's id, because two processes may get the same ``path``.
    """
    mine = f"{path}-{os.getpid()}"
    os.close(os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with contextlib.suppress(OSError):
        Path(mine).unlink()


def _connect(where: Any) -> None:
    """Connect to one of the parent's sockets; ``where`` is a host and a port, or the path of a Unix socket."""
    family = socket.AF_UNIX if isinstance(where, str) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as line:
        line.settimeout(2)
        line.connect(where if isinstance(where, str) else tuple(where))


def _signal(pid: int) -> None:
    os.kill(pid, 0)


def _product(device: str) -> None:
    """Compare MLX's product of two random matrices with numpy's.

    Some builds of MLX return wrong products without an error.  Raises ArithmeticError for a wrong product.
    """
    import mlx.core as mx

    left, right = _random(16, 512), _random(512, 64)
    mx.set_default_device(mx.gpu if device == "gpu" else mx.cpu)
    _compare("product", np.array(mx.array(left) @ mx.array(right)), left @ right)
    if device == "gpu":
        # On some chips products of sixteen rows of bfloat16 use a special kernel, which was wrong in some builds.
        rounded = [mx.array(each).astype(mx.bfloat16) for each in (left, right)]
        exact = [np.array(each.astype(mx.float32)) for each in rounded]
        _compare("bfloat16 product", np.array((rounded[0] @ rounded[1]).astype(mx.float32)), exact[0] @ exact[1])


def _compiled(device: str) -> None:
    """Compare the result of an expression that MLX compiles with numpy's result.

    MLX builds the expression's kernel from source, and a sandbox can forbid that.  Raises ArithmeticError for a wrong
    result.
    """
    import mlx.core as mx

    mx.set_default_device(mx.gpu if device == "gpu" else mx.cpu)
    values = _random(16, 16)
    found = mx.compile(lambda x: mx.exp(-x * x) + mx.sin(x))(mx.array(values))
    _compare("compiled expression", np.array(found), np.exp(-values * values) + np.sin(values))


def _random(rows: int, columns: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng().standard_normal((rows, columns)).astype(np.float32)


def _compare(what: str, found: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32]) -> None:
    """Raise ArithmeticError if two arrays differ by more than rounding explains."""
    off = float(np.abs(found - wanted).max() / np.abs(wanted).max())
    if not off <= _TOLERANCE:
        raise ArithmeticError(f"a {what} of random numbers differs from numpy's by {off:.2g} of its largest value")


if __name__ == "__main__":
    main(sys.argv[1])
