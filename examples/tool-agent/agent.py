"""A small agent in the style of ReAct (arXiv:2210.03629): the model thinks, calls a tool, reads the result, answers."""

import json
import re
from pathlib import Path

MAX_STEPS = 3  # most calls of the model for one question  # knob: int 1 8

ACTION = re.compile(r"^ACTION: (\w+) (\{.*\})\s*$", re.MULTILINE)
ANSWER = re.compile(r"^ANSWER: (.*)", re.MULTILINE | re.DOTALL)


def run(question, tools):
    """Return the answer to a question.  `tools.model` asks the model, `tools.call` calls a tool of tools.py."""
    system = Path("prompts/system.md").read_text().replace("{tools}", tools.describe())
    messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
    said = ""
    for _ in range(MAX_STEPS):
        said = tools.model(messages)
        if (answer := ANSWER.search(said)) is not None:
            return answer.group(1).strip()
        messages += [{"role": "assistant", "content": said}, {"role": "user", "content": observe(said, tools)}]
    return said


def observe(said, tools):
    """Return the next message to the model after a reply without an answer: the result of the called tool."""
    action = ACTION.search(said)
    if action is None:
        return "Write one line ACTION: or one line ANSWER:."
    try:
        return f"OBSERVATION: {json.dumps(tools.call(action.group(1), **json.loads(action.group(2))))}"
    except (tools.CallFailed, TypeError, ValueError) as error:
        return f"OBSERVATION: failed: {error}"
