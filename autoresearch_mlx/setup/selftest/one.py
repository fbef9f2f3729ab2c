"""Run one check.  This is a separate program, so that a check that hangs or dies does not end the self-test:

    python -P -m autoresearch_mlx.setup.selftest.one NAME GROUND

NAME is the check's name, and GROUND is the JSON of a :class:`Ground`.  The result is written into the ground's folder
as ``result.json``.  Messages about what the check is doing go to the parent process as events.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from autoresearch_mlx.errors import AutoresearchError
from autoresearch_mlx.setup.selftest.check import Ground, Result
from autoresearch_mlx.setup.selftest.checks import check_named
from autoresearch_mlx.trial.spec import Events

RESULT = "result.json"


def main(name: str, given: str) -> None:
    said = json.loads(given)
    ground = Ground(**{**said, "folder": Path(said["folder"]), "start": Path(said["start"])})
    events = Events()
    try:
        result = check_named(name).run(ground, lambda words: events.send("doing", words=words[:500]))
    except AutoresearchError as error:
        result = Result("fail", f"{error}; {error.hint}" if error.hint else str(error))
    (ground.folder / RESULT).write_text(json.dumps(result.to_json()), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
