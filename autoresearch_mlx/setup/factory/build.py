"""Carry out the stage ``build``: a model writes an agent, which consists of the program agent.py and its prompts.

The other files of the lab (tools, settings, cases) come from the template and from earlier stages.  Before a
measurement, a hash of these files is compared with the hash in the ledger.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.lab.assets import asset
from autoresearch_mlx.lab.lab import PROGRAM, SETTINGS
from autoresearch_mlx.lab.source import UNPARSABLE, parse, why_unparsable
from autoresearch_mlx.setup.factory.asking import Answer, Asker, Unfit
from autoresearch_mlx.setup.factory.cases import DEV_SHARE, FILE, GUARD_SHARE
from autoresearch_mlx.setup.factory.ledger import Problem
from autoresearch_mlx.setup.factory.prompts import build_prompt
from autoresearch_mlx.store.git import commit_all, init_repository
from autoresearch_mlx.targets.evals.cases import Case, read_cases, split

AGENT, TOOLS, PROMPT = "agent.py", "tools.py", "prompts/system.md"
_TEMPLATE = "examples/agent-template"
_SOURCES = {AGENT: "examples/tool-agent/agent.py", TOOLS: f"{_TEMPLATE}/{TOOLS}", PROMPT: f"{_TEMPLATE}/{PROMPT}"}
"""Files of the template, each with the path of the file in this package."""
_WRITABLE = re.compile(r"agent\.py|prompts/[\w-]{1,40}\.md")
_NAMED = re.compile(
    r"^[#*`\s]*(?:file:?\s*)?`?(?P<path>agent\.py|prompts/[\w-]{1,40}\.md)`?[*:`\s]*\n+"
    r"```[\w.+-]*[ \t]*\n(?P<text>.*?)^```[ \t]*$",
    re.MULTILINE | re.DOTALL | re.IGNORECASE,
)
_PYTHON = re.compile(r"^```(?:python|py)[ \t]*\n(?P<text>.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
_LONGEST = 40_000
_EXAMPLES = 8
"""Largest number of dev cases that the builder sees."""
_MOST_FILES = 6


def template() -> dict[str, str]:
    """Return the files of the template, by path."""
    return {path: asset(source).read_text(encoding="utf-8") for path, source in _SOURCES.items()}


def tools() -> dict[str, str]:
    """Return a line that describes each tool of the template, by the tool's name."""
    found = {}
    for node in ast.parse(template()[TOOLS]).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            arguments = ", ".join(each.arg for each in node.args.args)
            found[node.name] = f"- {node.name}({arguments}): {ast.get_docstring(node) or ''}"
    return found


def described(names: Iterable[str]) -> str:
    """Return the lines that describe the tools ``names`` in a prompt."""
    known = tools()
    return "\n".join(known[name] for name in names if name in known) or "- none"


@dataclass(frozen=True, slots=True)
class AgentModel:
    """The model that the built agents ask, on a server with OpenAI's API."""

    name: str
    endpoint: str
    api_key_env: str = ""
    patience_seconds: float = 600.0
    """Longest time, in seconds, that a measurement waits for a server that does not answer."""


def write_agent(asker: Asker, problem: Problem, cases: Path, refused: str) -> Answer[dict[str, str]]:
    """Ask the model to write an agent; return the files that the model has changed, by path.

    ``refused`` says why the last build was refused; it is empty for the first build.
    """
    assert problem.spec is not None
    dev = split(read_cases(cases), DEV_SHARE, GUARD_SHARE)["dev"]
    files = {path: text for path, text in template().items() if _WRITABLE.fullmatch(path)}
    prompt = build_prompt(
        problem.spec, described(problem.spec["tools"]), files, [_example(case) for case in dev[:_EXAMPLES]], refused
    )
    return asker.ask(problem.number, "build", prompt, files_in)


def _example(case: Case) -> str:
    return json.dumps({"input": case.input, "check": dict(case.check)}, ensure_ascii=False)


def files_in(text: str) -> dict[str, str]:
    """Return the files in a reply, by path.  Raises Unfit when there is no file, or when a file is too long."""
    found = {match["path"].lower(): match["text"] for match in _NAMED.finditer(text.replace("\r\n", "\n") + "\n")}
    if AGENT not in found and (alone := _PYTHON.findall(text.replace("\r\n", "\n") + "\n")):
        found[AGENT] = max(alone, key=len)
    if not found:
        raise Unfit("there is no file in it: write the path, agent.py, on a line of its own, then the text in a fence")
    if len(found) > _MOST_FILES or any(len(each) > _LONGEST for each in found.values()):
        raise Unfit(f"write at most {_MOST_FILES} files of at most {_LONGEST:,} characters")
    if "\0" in "".join(found.values()):
        raise Unfit("a file holds a NUL")
    return {path: each.encode(errors="replace").decode() for path, each in found.items() if _WRITABLE.fullmatch(path)}


def parse_fault(files: Mapping[str, str]) -> str:
    """Return why agent.py cannot be the agent's program; an empty string if it defines the function ``run``."""
    try:
        tree = parse(files[AGENT])
    except UNPARSABLE as error:
        return f"{AGENT} does not parse: {why_unparsable(error)}"
    if not any(isinstance(node, ast.FunctionDef) and node.name == "run" for node in tree.body):
        return f"{AGENT} lacks the function run(question, tools)"
    return ""


def lay_out(problem: Problem, lab: Path, cases: Path, files: Mapping[str, str], model: AgentModel) -> None:
    """Make the agent's lab in the folder ``lab``: template, cases, settings and the model's files, in a git repository.

    An older folder is removed first.
    """
    shutil.rmtree(lab, ignore_errors=True)
    lab.mkdir(parents=True)
    shutil.copyfile(cases, lab / FILE)
    for own in cases.parent.glob("*.py"):  # checks that the user has written
        shutil.copyfile(own, lab / own.name)
    (lab / SETTINGS).write_text(settings_text(model), encoding="utf-8")
    (lab / PROGRAM).write_text(program_text(problem), encoding="utf-8")
    for path, text in {**template(), **files}.items():
        (lab / path).parent.mkdir(parents=True, exist_ok=True)
        (lab / path).write_text(text, encoding="utf-8")
    init_repository(lab)
    commit_all(lab, ["."], f"An agent for {problem.id}")


def settings_text(model: AgentModel) -> str:
    """Return the text of the lab.toml of an agent's lab."""
    key = f"api_key_env = {json.dumps(model.api_key_env)}\n" if model.api_key_env else ""
    return f"""\
[target]
kind = "evals"
editable = ["agent.py", "prompts/*.md"]

[target.options]
model = {json.dumps(model.name)}
endpoint = {json.dumps(model.endpoint)}
{key}patience_seconds = {model.patience_seconds}
tools = "tools.py"
dev_share = {DEV_SHARE}
guard_share = {GUARD_SHARE}
calls = 8                     # the budget of one case
tool_calls = 16
errors_limit = 0.0            # a kept edit may not end in more errors

[agent]
format = "blocks"

[judge]
replicates = 2
"""


def program_text(problem: Problem) -> str:
    """Return the text of the program.md of an agent's lab: the task and the agent's specification."""
    spec: Mapping[str, Any] = problem.spec or {}
    return f"""\
Make the agent answer more questions right. `agent.py` asks the model and calls the tools, `prompts/system.md` tells the
model how to work. Write what helps with any question of this kind, never the answer to one of the cases.

The agent: {terms.one_line(spec["title"])}
Input: {terms.one_line(spec["input"])}
Output: {terms.one_line(spec["output"])}
Right when: {terms.one_line(spec["solved"])}
"""


def fixed_files(lab: Path) -> str:
    """Return a hash of the lab's files that builds and experiments may not change."""
    found = hashlib.sha256()
    for path in sorted(lab.rglob("*")):
        name = path.relative_to(lab).as_posix()
        if path.is_file() and not name.startswith((".git/", ".autoresearch/")) and not _WRITABLE.fullmatch(name):
            found.update(f"{name}\0".encode() + path.read_bytes() + b"\0")
    return found.hexdigest()
