"""Find out whether an edit changes only the random seed.

A lucky seed looks like a gain, but is not one.  The harness fixes the seed, so an edit that sets another seed only
searches for luck.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping

from autoresearch_mlx.lab.source import UNPARSABLE, parse

_SEED_NAME = re.compile(r"(^|_)(seed|seeds|random_state|rng_seed)(_|\d|$)", re.IGNORECASE)
_RESEEDING = re.compile(r"(^|\.)(seed|manual_seed|set_seed)$")
_DRAWING = re.compile(r"(^|\.)(key|PRNGKey|default_rng|RandomState|Random|SeedSequence|Generator|PCG64)$")


def only_seeds_differ(before: str, after: str) -> bool:
    """Return whether two Python texts differ only in their seeds.

    Three things count as seeds: variables with names such as ``SEED``, calls such as ``mx.random.seed``, and whole
    numbers in calls such as ``mx.random.key``.  Returns False if both texts do the same thing, and if a text does not
    parse.
    """
    try:
        one, two = parse(before), parse(after)
    except UNPARSABLE:
        return False
    if ast.dump(one) == ast.dump(two):
        return False
    return ast.dump(_Seedless().visit(one)) == ast.dump(_Seedless().visit(two))


def only_seeds_changed(before: Mapping[str, str], after: Mapping[str, str]) -> bool:
    """Return whether an edit changes only seeds; all changed files must be Python.  Files are ``{path: text}``."""
    changed = {path for path, text in after.items() if before.get(path) != text}
    return bool(changed) and all(
        path.endswith(".py") and path in before and only_seeds_differ(before[path], after[path]) for path in changed
    )


class _Seedless(ast.NodeTransformer):
    """Remove every choice of a seed from a syntax tree."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """Remove a statement that only sets the seed."""
        if isinstance(node.value, ast.Call) and _RESEEDING.search(_name(node.value.func)):
            return None
        return self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        """Remove ``SEED = 7``."""
        named = all(isinstance(target, ast.Name) and _SEED_NAME.search(target.id) for target in node.targets)
        return None if named and _whole_number(node.value) else self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        named = isinstance(node.target, ast.Name) and _SEED_NAME.search(node.target.id)
        return None if named and node.value is not None and _whole_number(node.value) else self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name = _name(node.func)
        if _RESEEDING.search(name) or (_DRAWING.search(name) and "random" in name.lower()):
            numberless = _Numberless()
            node.args = [numberless.visit(argument) for argument in node.args]
        for keyword in node.keywords:
            if keyword.arg is not None and _SEED_NAME.search(keyword.arg):
                keyword.value = _Numberless().visit(keyword.value)
        return self.generic_visit(node)


class _Numberless(ast.NodeTransformer):
    """Remove whole numbers from an expression: ``seed + 1`` becomes ``seed``."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        left, right = self.visit(node.left), self.visit(node.right)
        if _whole_number(right):
            return left  # type: ignore[no-any-return]
        if _whole_number(left):
            return right  # type: ignore[no-any-return]
        return ast.BinOp(left, node.op, right)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Constant(0) if isinstance(node.value, int) else node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Constant(0) if _SEED_NAME.search(node.id) else node


def _whole_number(node: ast.AST) -> bool:
    if isinstance(node, ast.UnaryOp):
        return _whole_number(node.operand)
    if isinstance(node, ast.BinOp):
        return _whole_number(node.left) and _whole_number(node.right)
    return isinstance(node, ast.Constant) and isinstance(node.value, int)


def _name(node: ast.AST) -> str:
    """Return the dotted name of a function, or an empty string for an expression without a name."""
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""
