"""Write the prompts for the model.  Text from posts is put between two lines with a random mark."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from autoresearch_mlx.setup.factory.evidence import Piece

SHOWN = 1500
"""Largest number of characters of a post in a prompt."""


def fenced(text: str, about: str = "") -> str:
    """Return a text between two lines with a random mark; the text's author cannot know the mark."""
    mark = secrets.token_hex(6)
    return f"<<{mark}{' ' + about if about else ''}\n{text}\n{mark}>>"


def problems_prompt(pieces: Sequence[Piece], known: Sequence[Mapping[str, Any]]) -> str:
    """Return the prompt that asks which problems some posts describe.

    ``known`` has the problems that earlier posts described.
    """
    posts = "\n\n".join(fenced(piece.text[:SHOWN], f"post {piece.id}") for piece in pieces)
    so_far = "\n".join(f"{each['id']}: {each['title']}: {each['statement']}" for each in known) or "none yet"
    return f"""\
# Task: problems

Below are {len(pieces)} posts. Find the problems in them that a small program could solve: a person gives it a question
as text, and it answers with a short text, such as a number, a date, a word or a JSON object, which can be checked by a
program. Leave out opinions, adverts, thanks, and problems that need hardware, people or secret data.

Problems that earlier posts described:
{so_far}

If a post describes one of these, use its id; otherwise leave the id empty. For each post that describes the problem,
quote the words that do, exactly as they stand there.

{posts}

Answer with one JSON object and nothing else:
{{"problems": [{{"id": "", "title": "...", "statement": "one or two sentences",
"evidence": [{{"post": 1, "quote": "..."}}]}}]}}
"""


def merge_prompt(problems: Sequence[Mapping[str, Any]]) -> str:
    """Return the prompt that asks which problems differ only in wording."""
    listed = "\n".join(f"{each['id']}: {each['title']}: {each['statement']}" for each in problems)
    return f"""\
# Task: merge

These problems were found in different posts:
{fenced(listed)}

Which of them are the same problem in other words, so that one program would solve them? Put those ids together, and
leave out every problem that stands alone. Answer with one JSON object and nothing else:
{{"same": [["p1", "p4"]]}}
"""


def spec_prompt(title: str, statement: str, evidence: Sequence[Mapping[str, Any]], tools: str) -> str:
    """Return the prompt that asks for the specification of an agent that solves a problem."""
    quotes = "\n".join(fenced(str(entry["quote"]), f"piece {n}") for n, entry in enumerate(evidence[:20], 1))
    return f"""\
# Task: spec

People have this problem:
{fenced(f"{title}: {statement}")}

Their words:
{quotes}

Specify a small agent that solves it: one function that gets a question as text and returns the answer as text. It may
use these tools and a language model, and has no network:
{tools}

Say exactly what a question contains, what form the answer has, and when an answer is right, so that somebody else can
write tests without asking you. Answer with one JSON object and nothing else:
{{"title": "...", "input": "what a question contains", "output": "the exact form of the answer",
"tools": ["names of the tools that it needs"], "solved": "when an answer is right"}}
"""


def cases_prompt(spec: Mapping[str, Any], count: int, taken: Sequence[str]) -> str:
    """Return the prompt that asks for cases that will test an agent.

    ``taken`` has questions that already exist.
    """
    had = "\n".join(f"- {json.dumps(question, ensure_ascii=False)[:200]}" for question in taken[-40:]) or "none yet"
    return f"""\
# Task: cases

Write {count} test cases for this agent. You do not see its program; nobody has written it yet.
{fenced(json.dumps(spec, ensure_ascii=False, indent=1))}

Each case has a question ("input"), the right answer ("answer"), and a check that a program makes of the answer:
{{"exact": "Paris"}}, also with "ignore_case": true; {{"number": 391, "tolerance": 0.5}}; {{"regex": "[A-Z]\\\\d"}},
which the whole answer must match; or {{"schema": {{...}}}}, a JSON schema. The right answers must differ from case to
case, and no question may be its own answer. Cover easy, usual and difficult questions; put the kind into "tags".

Questions that exist already; write other ones:
{had}

Answer with one JSON object and nothing else:
{{"cases": [{{"input": "...", "answer": "...", "check": {{"exact": "..."}}, "tags": ["easy"]}}]}}
"""


def build_prompt(
    spec: Mapping[str, Any], tools: str, files: Mapping[str, str], examples: Sequence[str], refused: str
) -> str:
    """Return the prompt that asks for the files of an agent.

    ``examples`` has dev cases, and ``refused`` says why the last build did not pass.
    """
    shown = "\n\n".join(f"{path}\n```\n{text.rstrip()}\n```" for path, text in files.items())
    again = f"\nAn earlier build was refused: {refused}\n" if refused else ""
    return f"""\
# Task: build

Write an agent for this specification:
{fenced(json.dumps(spec, ensure_ascii=False, indent=1))}

It is the function `run(question, tools)` in agent.py, which returns the answer. `tools.model(messages)` asks a language
model and returns its reply; the other tools are methods:
{tools}

It runs in a sandbox without network and without other files. You can write only agent.py and files prompts/NAME.md.
Solve questions of this kind in general. Other questions than these examples will be asked, and an agent that stores the
answers to the examples is discarded.

Examples of questions with their checks:
{fenced(chr(10).join(examples))}

The template from which you start:
{shown}
{again}
Answer with the whole text of each file that you change, in this form:

agent.py
```python
...
```
"""
