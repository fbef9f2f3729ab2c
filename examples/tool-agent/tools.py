"""The tools of the agent.  The harness runs them in a process of its own, and counts the agent's calls."""

import ast
import operator
from datetime import date

CATALOGUE = {
    "A17": {"name": "desk lamp", "price": 24.5, "supplier": "Lumen Ltd"},
    "A18": {"name": "floor lamp", "price": 61.0, "supplier": "Lumen Ltd"},
    "B03": {"name": "oak stool", "price": 39.9, "supplier": "Quercus"},
    "B04": {"name": "oak table", "price": 249.0, "supplier": "Quercus"},
    "C11": {"name": "wool rug", "price": 118.0, "supplier": "Ovine Works"},
    "C12": {"name": "door mat", "price": 14.2, "supplier": "Ovine Works"},
    "D05": {"name": "wall clock", "price": 33.0, "supplier": "Tempus"},
}
FACTORS = {("miles", "kilometres"): 1.609344, ("pounds", "kilograms"): 0.45359237, ("feet", "metres"): 0.3048}
OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def calculator(expression):
    """Work out an expression of numbers with + - * / and brackets."""
    return _value(ast.parse(expression, mode="eval").body)


def convert(value, unit, to):
    """Convert between miles and kilometres, pounds and kilograms, feet and metres."""
    if (unit, to) in FACTORS:
        return round(float(value) * FACTORS[unit, to], 6)
    return round(float(value) / FACTORS[to, unit], 6)


def days_between(start, end):
    """Return the number of days between two dates such as 2024-01-31."""
    return (date.fromisoformat(end) - date.fromisoformat(start)).days


def lookup(item):
    """Return name, price and supplier of an item of the catalogue, such as A17."""
    return CATALOGUE[item]


def _value(node):
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return round(OPERATORS[type(node.op)](_value(node.left), _value(node.right)), 10)
    raise ValueError("only numbers, + - * / and brackets")
