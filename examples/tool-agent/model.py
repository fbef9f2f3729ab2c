"""A scripted model: it imitates small language models by rules, so that the lab needs no server.

It works out easy sums by itself and guesses the others, unless the prompt says that a tool must be used.  It answers in
whole sentences, unless the prompt asks for the value alone.  It never reads the cases.
"""

import json
import re

INSISTS = re.compile(r"\b(always|every|must|never .*(head|guess|yourself))\b", re.IGNORECASE)
TERSE = re.compile(r"\b(alone|only the (value|answer|number|result)|nothing else|just the|no words)\b", re.IGNORECASE)


def reply(messages, seed):
    """Return the next message for a conversation: a list of objects with role and content."""
    system = " ".join(m["content"] for m in messages if m["role"] == "system")
    question = next((m["content"] for m in messages if m["role"] == "user"), "")
    seen = [m["content"].partition(": ")[2] for m in messages if m["content"].startswith("OBSERVATION: ")]
    instructions = re.sub(r"\{.*?\}|`.*?`", "", system)
    insists = any("tool" in s and INSISTS.search(s) for s in re.split(r"[.\n]", instructions))
    terse = TERSE.search(instructions) is not None
    if any(text.startswith("failed") for text in seen):
        return "ANSWER: I do not know."
    for pattern, rule in RULES:
        if (found := re.search(pattern, question)) is not None:
            return rule(found, seen, insists, terse)
    return "ANSWER: I do not know."


def act(tool, **arguments):
    return f"ACTION: {tool} {json.dumps(arguments)}"


def arithmetic(found, seen, insists, terse):
    expression = found.group(1)
    a, operator, b = expression.split()
    if not seen and (insists or "(" in expression):
        return act("calculator", expression=expression)
    if seen:
        value = seen[-1]
    else:
        exact = {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[operator]
        value = exact if max(int(a), int(b)) <= 12 else exact - exact % 100 + 7
    return f"ANSWER: {value}"


def conversion(found, seen, insists, terse):
    value, unit, to = found.groups()
    if not seen and insists:
        return act("convert", value=float(value), unit=unit, to=to)
    said = seen[-1] if seen else {"miles": 1.5, "pounds": 0.5, "feet": 0.33}.get(unit, 2) * float(value)
    return f"ANSWER: {said}" if terse else f"ANSWER: {value} {unit} are {said} {to}"


def days(found, seen, insists, terse):
    start, end = found.groups()
    if not seen and insists:
        return act("days_between", start=start, end=end)
    if seen:
        return f"ANSWER: {seen[-1]}"
    (y1, m1, d1), (y2, m2, d2) = ([int(n) for n in day.split("-")] for day in (start, end))
    return f"ANSWER: {360 * (y2 - y1) + 30 * (m2 - m1) + d2 - d1}"


def entry(found, seen, insists, terse):
    what, item = found.groups()
    if not seen:
        return act("lookup", item=item)
    record = json.loads(seen[-1])
    return f"ANSWER: {record['price'] if what == 'price' else record['supplier']}"


def as_json(found, seen, insists, terse):
    if not seen:
        return act("lookup", item=found.group(1))
    record = json.loads(seen[-1])
    return "ANSWER: " + json.dumps({"name": record["name"], "price": record["price"]})


def total(found, seen, insists, terse):
    (n1, one), (n2, other) = re.findall(r"(\d+) of ([A-D]\d\d)", found.group())
    if len(seen) < 2:
        return act("lookup", item=(one, other)[len(seen)])
    if len(seen) < 3:
        first, second = (json.loads(text)["price"] for text in seen)
        return act("calculator", expression=f"{n1} * {first} + {n2} * {second}")
    return f"ANSWER: {seen[2]}"


RULES = [
    (r"What is (\d+ [-+*] \d+)\?", arithmetic),
    (r"Convert (\S+) (\w+) to (\w+)", conversion),
    (r"How many days are there from (\S+) to (\d{4}-\d\d-\d\d)", days),
    (r"What is the (price|supplier) of item (\w+)", entry),
    (r"Give item (\w+) as JSON", as_json),
    (r"What do (.+) cost together", total),
]
