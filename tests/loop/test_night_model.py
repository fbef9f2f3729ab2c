"""Nights with a model as the researcher: a real mlx_lm.server and real training, and a server that dies and returns."""

from __future__ import annotations

import json
import random
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import tiny_training as tiny
from conftest import command_line, git
from openai_server import OpenAIServer
from scripted_model import write_model
from server_behaviours import Behaviour, Received, say

from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.store.ledger import FILE, read
from autoresearch_mlx.store.talks import calls_of

pytestmark = pytest.mark.uncounted

TOML = tiny.settings('"match-tokens:8192"', '[judge]\nmode = "margin"\nmargin = 0.0\n[agent]\nformat = "blocks"\n')
KNOB = """\
A head that hardly learns is the first thing to mend.

```json
{"title": "let the head learn", "axis": "lr.unembedding", "hypothesis": "it starts at zero and stays there",
 "expected_gain": 0.5, "knobs": {"UNEMBEDDING_LR": 0.002}}
```
"""
CODE = """\
```json
{"title": "SiLU in the MLP", "axis": "mlp", "hypothesis": "smoother", "expected_gain": 0.01}
```

train_mlx.py
```python
<<<<<<< SEARCH
        return self.c_proj(mx.square(nn.relu(self.c_fc(x))))
=======
        return self.c_proj({call}(self.c_fc(x)))
>>>>>>> REPLACE
```
"""


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    # The head has a low rate; a higher one gains far more than the noise, but not so much that it has to be accepted.
    # Each run trains on the same number of tokens, so that a busy machine does not change the gain.
    return tiny.lab(tmp_path / "lab", TOML, UNEMBEDDING_LR=7e-4, UNEMBEDDING_INIT_STD=0.0001)


@pytest.mark.slow
def test_a_real_server_with_a_hand_made_model_researches(lab: Lab, tmp_path: Path) -> None:
    silu, typo = CODE.replace("{call}", "nn.silu"), CODE.replace("{call}", "nn.sillu")
    model = write_model(tmp_path / "model", [KNOB, [typo, silu], "I have no further ideas."])
    done = command_line("run", "--agent", f"mlx:{model}", "--experiments", "3", "--tag", "t", cwd=lab.root)
    assert done.returncode == 0, done.stderr
    first, second, third = read(lab.folder("t") / FILE).history.experiments[1:]
    assert (first.status, first.title) == ("keep", "UNEMBEDDING_LR 0.0007 -> 0.002"), first.reason
    assert first.gain is not None and first.gain > 0.2, first.gain
    assert first.knobs == {"UNEMBEDDING_LR": (7e-4, 0.002)}
    assert first.talk["model"] and first.talk["prompt_tokens"] > 1000 and first.talk["load_seconds"] > 0
    # The typo parses, fails its smoke run in seconds, and goes back with the log's end; its repair is measured.
    assert second.status in ("keep", "discard") and second.value is not None
    assert "nn.silu(" in git(lab.root, "show", f"{second.ref}:train_mlx.py")
    told = list(calls_of(lab.folder("t"), 2))[1]["messages"][-1]["content"]
    assert "has no attribute 'sillu'" in told
    assert second.seconds["smoke"] < 30
    assert (third.status, third.measurements) == ("invalid", ())
    assert "no proposal in the reply" in third.reason
    assert "no further ideas" in str(next(calls_of(lab.folder("t"), 3))["reply"])


def answer(request: Received) -> Behaviour:
    """Answer a request with an edit that differs from experiment to experiment."""
    said = request.prompt
    if "This is experiment" not in said:
        return say('{"ideas": [{"title": "lower X", "axis": "knob.x"}, {"title": "higher Y", "axis": "knob.y"}]}')
    (number,) = re.findall(r"This is experiment (\d+)\.", said)
    x = round(random.Random(f"{number} {len(request.body['messages'])}").uniform(0, 10), 3)
    return say(json.dumps({"title": f"X {x}", "axis": "x", "hypothesis": "", "knobs": {"X": x}}))


@contextmanager
def dying(server: OpenAIServer, after: int, dead_seconds: float) -> Iterator[list[int]]:
    """Let the server die and return, over and over, from its first ``after`` answers on; yield the number of deaths."""
    over, deaths = threading.Event(), [0]

    def trouble() -> None:
        while not over.wait(1.2):
            if len(server.chats) < after:
                continue
            server.die()
            deaths[0] += 1
            over.wait(dead_seconds)
            server.revive()

    thread = threading.Thread(target=trouble)
    thread.start()
    try:
        yield deaths
    finally:
        over.set()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["chat", "hybrid"])
def test_forty_experiments_with_an_endpoint_that_dies_and_returns(command_lab: Lab, agent: str) -> None:
    with OpenAIServer() as server, dying(server, 4, 0.5) as deaths:
        server.default = answer
        toml = (command_lab.root / "lab.toml").read_text()
        settings = (
            f'name = "{agent}"\nmodel = "m"\nbase_url = "{server.base_url}"\npatience_seconds = 60\nshare = 1.0\n'
        )
        (command_lab.root / "lab.toml").write_text(f"{toml}\n[agent]\n{settings}")
        done = command_line("run", "--experiments", "40", "--tag", "t", cwd=command_lab.root)
    assert done.returncode == 0, done.stderr
    journal = read(command_lab.folder("t") / FILE)
    rows = [e for e in journal.history.experiments if e.number > 0]
    assert [e.number for e in rows] == list(range(1, 41)) and not journal.running
    assert deaths[0] >= 2
    measured = [e.fingerprint for e in rows if e.measurements]
    assert len(measured) == len(set(measured)), "nothing was measured twice"
    assert sum(e.agent != "knobs" for e in rows) >= (40 if agent == "chat" else 2)
    assert ("continues alone for the next" if agent == "hybrid" else "answers again") in done.stderr
    lines = (command_lab.folder("t") / "ledger.jsonl").read_text().splitlines()
    events = [json.loads(line)["event"] for line in lines]
    assert events.count("finished") == 41 and events.count("abandoned") == 0
    if agent == "chat":
        assert {e.status for e in rows} <= {"keep", "discard", "duplicate"}, "the same experiment waits and goes on"
