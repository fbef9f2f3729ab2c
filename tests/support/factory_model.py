"""A scripted model for the factory: it finds three problems in the posts of tests/setup/factory, and solves one well.

The model is a function that takes a request and returns what ``OpenAIServer`` does with it.  Its agent for servings is
good and can be improved, its agent for working days does not parse, and its agent for shoe sizes has the answers to the
examples hard-coded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any

from server_behaviours import Behaviour, Received, say

Reply = Callable[[str], str]
TITLES = {"servings": "Scale servings", "working days": "Count working days", "shoe size": "Convert shoe sizes"}
WANTED_BY_ONE = {"invoice": "Find gaps in invoices"}

SERVINGS_AGENT = '''\
import json
import re


def run(question, tools):
    """Return the scaled amount.  The model reads the numbers, the calculator multiplies."""
    numbers = json.loads(tools.model("Numbers: " + question))
    words = question.split("?")[0]
    if "double" in words:
        return str(numbers[0])
    amount, before, after = numbers[:3]
    return f"{tools.calculator(expression=f'{amount} * {after} / {before}'):g}"
'''
SYNTAX_ERROR = "def run(question, tools)\n    return 'never'\n"


def model(**instead: Reply) -> Callable[[Received], Behaviour]:
    """Return the scripted model.

    ``instead`` maps a task (``problems``, ``merge``, ``spec``, ``cases`` ...) to a function that answers it instead.
    """
    replies: Mapping[str, Reply] = {
        "problems": problems, "merge": merge, "spec": spec, "cases": cases, "build": build, "improve": improve,
        "numbers": numbers, **instead,
    }  # fmt: skip

    def answer(request: Received) -> Behaviour:
        prompt = request.prompt
        task = re.search(r"^# Task: (\w+)$", prompt, re.MULTILINE)
        if task is not None:
            return say(replies[task[1]](prompt))
        return say(replies["improve" if "This is experiment " in prompt else "numbers"](prompt))

    return answer


def nonsense(prompt: str) -> str:
    return 'I am only a language model, and I like turtles. {"problems": 7'


def posts_of(prompt: str) -> list[tuple[int, str]]:
    """Return the posts that a prompt quotes: number and text."""
    return [(int(n), text) for _, n, text in re.findall(r"^<<(\w+) post (\d+)\n(.*?)\n\1>>$", prompt, re.M | re.S)]


def problems(prompt: str) -> str:
    known = dict(re.findall(r"^(p\d+): ([^:]+):", prompt, re.MULTILINE))
    found = []
    for word, title in {**TITLES, **WANTED_BY_ONE}.items():
        evidence = []
        for number, text in posts_of(prompt):
            quote = next((s for s in re.split(r"(?<=[.?!])\s+", text) if word in s.lower()), None)
            if quote is not None:
                evidence.append({"post": number, "quote": quote})
        if evidence:
            name = next((p for p, its in known.items() if its == title), "")
            statement = f"People write about {word} and need a right answer."
            found.append({"id": name, "title": title, "statement": statement, "evidence": evidence})
    return f"Here they are:\n```json\n{json.dumps({'problems': found})}\n```"


def merge(prompt: str) -> str:
    return json.dumps({"same": []})


def _subject(prompt: str) -> str:
    return next(title for title in TITLES.values() if title in prompt)


def spec(prompt: str) -> str:
    title = _subject(prompt)
    tools = ["calculator", "sudo"] if title == "Scale servings" else ["days_between", "add_days"]
    return json.dumps(
        {
            "title": title,
            "input": "one question in English",
            "output": "the number alone",
            "tools": tools,
            "solved": "the number is right",
        }
    )


def cases(prompt: str) -> str:
    """Return ten cases that the prompt does not have yet, and one that tests nothing."""
    taken = prompt.count('\n- "')
    make = {"Scale servings": _servings, "Count working days": _working_days, "Convert shoe sizes": _shoe_size}
    found = [make[_subject(prompt)](taken + n) for n in range(10)]
    found.append({"input": "Say anything", "answer": "anything", "check": {"regex": ".*"}, "tags": []})
    return json.dumps({"cases": found})


def _servings(n: int) -> dict[str, Any]:
    amount, before, after = 40 + 7 * n, 2 + n % 5, 3 + n % 7
    if n % 2:
        return _case(f"I double {amount} g of rice for {before} people. How much is it?", 2 * amount, "doubling")
    question = f"A recipe takes {amount} g for {before} servings. How much for {after} servings?"
    return _case(question, round(amount * after / before, 4), "scaling")


def _working_days(n: int) -> dict[str, Any]:
    start = date(2026, 1, 5) + timedelta(days=3 * n)
    end = start + timedelta(days=10 + n)
    days = sum((start + timedelta(days=k)).weekday() < 5 for k in range((end - start).days))
    return _case(f"How many working days from {start} to {end}?", days, "days")


def _shoe_size(n: int) -> dict[str, Any]:
    return _case(f"What is EU shoe size {30 + n / 2:g} as a UK size?", round((30 + n / 2) / 1.27 - 20, 1), "sizes")


def _case(question: str, answer: float, tag: str) -> dict[str, Any]:
    return {"input": question, "answer": f"{answer:g}", "check": {"number": answer, "tolerance": 0.01}, "tags": [tag]}


def build(prompt: str) -> str:
    title = _subject(prompt)
    if title == "Count working days":
        return _file(SYNTAX_ERROR)
    if title == "Convert shoe sizes":
        examples = [json.loads(line) for line in prompt.splitlines() if line.startswith('{"input"')]
        table = {each["input"]: str(each["check"]["number"]) for each in examples}
        return _file(f"TABLE = {table!r}\n\n\ndef run(question, tools):\n    return TABLE.get(question, '')\n")
    return _file(SERVINGS_AGENT)


def _file(text: str) -> str:
    return f"Here is the agent.\n\nagent.py\n```python\n{text}```\n"


def improve(prompt: str) -> str:
    """Return a reply with the edit that makes the agent for servings double the number."""
    fields = json.dumps({"title": "double", "axis": "agent", "hypothesis": "it helps", "expected_gain": 0.1})
    search, replace = "        return str(numbers[0])\n", "        return str(2 * numbers[0])\n"
    blocks = f"<<<<<<< SEARCH\n{search}=======\n{replace}>>>>>>> REPLACE\n"
    return f"```json\n{fields}\n```\n\nagent.py\n```\n{blocks}```\n"


def numbers(prompt: str) -> str:
    return json.dumps([float(n) for n in re.findall(r"\d+(?:\.\d+)?", prompt.rpartition("Numbers: ")[2])])
