"""Make wrong programs out of a right one: one small change each, as mutation tests do."""

import ast
import copy
from dataclasses import dataclass

COMPARED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
COMPUTED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult}
COMPUTED |= {ast.Mod: ast.Mult, ast.Pow: ast.Mult}


@dataclass(frozen=True)
class Mutant:
    """A wrong program."""

    line: int
    change: str
    text: str


def mutants_of(text, lines):
    """Yield the wrong programs that differ from ``text`` in one of these lines; docstrings and messages stay."""
    tree = ast.parse(text)
    spared = _spared(tree)
    for at, node in enumerate(ast.walk(tree)):
        if getattr(node, "lineno", None) in lines and node not in spared:
            for number in range(len(list(_changes(node)))):
                other = copy.deepcopy(tree)
                twin = next(each for place, each in enumerate(ast.walk(other)) if place == at)
                before = ast.unparse(twin)
                list(_changes(twin))[number]()
                yield Mutant(node.lineno, f"{before} -> {ast.unparse(twin)}", ast.unparse(other) + "\n")


def alike(text, number):
    """Return a program that does the same but is written differently: with one more name in each function, without
    comments."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            at = 1 if ast.get_docstring(node, clean=False) is not None else 0
            node.body.insert(at, ast.Assign([ast.Name(f"_same_{number}", ast.Store())], ast.Constant(number)))
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"


def _spared(tree):
    """Return the nodes that are not changed: docstrings, and the texts of errors."""
    nodes = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            nodes.add(node.value)
        if isinstance(node, ast.Raise | ast.JoinedStr):
            nodes.update(each for each in ast.walk(node) if each is not node)
    return nodes


def _changes(node):
    """Yield functions, each of which changes the node in one way."""
    if isinstance(node, ast.Compare):
        for at, kind in enumerate(map(type, node.ops)):
            if kind in COMPARED:
                yield lambda at=at, kind=kind: node.ops.__setitem__(at, COMPARED[kind]())
    elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in COMPUTED:
        yield lambda: setattr(node, "op", COMPUTED[type(node.op)]())
    elif isinstance(node, ast.BoolOp):
        yield lambda: setattr(node, "op", ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield lambda: setattr(node, "operand", ast.Call(ast.Name("bool"), [ast.UnaryOp(ast.Not(), node.operand)], []))
    elif isinstance(node, ast.Return) and node.value is not None:
        yield lambda: setattr(node, "value", ast.Constant(None))
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield lambda: setattr(node, "value", not node.value)
        elif isinstance(node.value, int | float):
            yield lambda: setattr(node, "value", node.value + 1)
        elif isinstance(node.value, str):
            yield lambda: setattr(node, "value", f"{node.value}x")
