"""The tools of the agent.  The harness runs them in a process of its own, and counts the agent's calls."""

import ast
import operator
from datetime import date, timedelta

OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


def calculator(expression):
    """Work out an expression of numbers with + - * / // % and brackets."""
    return _value(ast.parse(str(expression)[:500], mode="eval").body)


def days_between(start, end):
    """Return the number of days from one date to another; dates are written 2024-01-31."""
    return (date.fromisoformat(end) - date.fromisoformat(start)).days


def add_days(start, days):
    """Add a number of days to a date such as 2024-01-31, and return the new date."""
    return (date.fromisoformat(start) + timedelta(days=int(days))).isoformat()


def weekday(day):
    """Return the name of the weekday of a date such as 2024-01-31."""
    return date.fromisoformat(day).strftime("%A")


def _value(node):
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return round(OPERATORS[type(node.op)](_value(node.left), _value(node.right)), 10)
    raise ValueError("only numbers, + - * / // % and brackets")
