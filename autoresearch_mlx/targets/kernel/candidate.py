"""Read a candidate (the file ``kernel.py``) without running the file, and refuse a candidate that does more than
compute.

A candidate has one or more of three forms.  The form ``kernel(...)`` composes functions of ``mx`` and runs on every
machine.  The forms ``METAL`` and ``CUDA`` are the bodies of kernels; ``launch(shapes)`` returns the launch geometry,
and the harness launches the kernel.  A candidate may use only listed names, so it cannot reach a clock, a file, a
stream, global state or the reference.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from autoresearch_mlx.lab.source import UNPARSABLE, parse, why_unparsable
from autoresearch_mlx.targets.kernel import allowed
from autoresearch_mlx.targets.kernel.gpu_source import why_refused
from autoresearch_mlx.targets.kernel.task import KERNEL, Task

Form: TypeAlias = Literal["mlx", "metal", "cuda"]
_SOURCES: Mapping[str, Form] = {"METAL": "metal", "CUDA": "cuda"}
_ENTRY, _LAUNCH = "kernel", "launch"


class Refused(Exception):
    """Raised for a candidate that may not run; the message tells the candidate's author why."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A candidate that has passed the static gates."""

    source: str
    """The text of kernel.py."""
    forms: tuple[Form, ...]
    """Forms of the candidate.  If there is no form, as in the first candidate of some tasks, the reference
    itself runs."""
    compiled: bool
    """``COMPILE``: whether ``kernel`` runs under mx.compile."""
    constants: Mapping[str, Any]
    """Constants at the top level of the file: METAL, CUDA, HEADER, TEMPLATE, and numbers."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    def form_for(self, back_end: str | None) -> Form | None:
        """Return the candidate's form that runs on a back end (metal, cuda, or None for neither), or None if there is
        no such form."""
        if back_end is not None and back_end in self.forms:
            return next(form for form in self.forms if form == back_end)
        return "mlx" if "mlx" in self.forms else None


def candidate_from(text: str) -> Candidate:
    """Return the candidate that :meth:`to_json` wrote."""
    found = json.loads(text)
    return Candidate(found["source"], tuple(found["forms"]), found["compiled"], found["constants"])


def kernel_name(task: str, source: str, header: str, template: str) -> str:
    """Return the name under which MLX compiles a kernel; the name contains a hash of everything in the kernel.

    Before MLX 0.32.2, two kernels with the same name shared a cache entry, so MLX ran the code of the first kernel for
    both.
    """
    digest = hashlib.sha256("\0".join((source, header, template)).encode()).hexdigest()
    return f"{task}_{digest[:16]}"


def read_candidate(text: str, task: Task) -> Candidate:
    """Return the candidate in ``text``.  Raises Refused if the candidate does more than compute."""
    try:
        tree = parse(text)
    except UNPARSABLE as error:
        raise Refused(f"{KERNEL} does not parse: {why_unparsable(error)}") from None
    constants, functions = _top_level(tree)
    for function in functions.values():
        _Body(function, constants, functions).check()
    forms: list[Form] = []
    if _ENTRY in functions:
        _same_parameters(functions[_ENTRY], task.parameters)
        forms.append("mlx")
    for name, form in _SOURCES.items():
        if constants.get(name):
            if _LAUNCH not in functions:
                raise Refused(f"{name} needs launch(shapes), which returns the grid and the threadgroup")
            if (why := why_refused(name, constants, task)) is not None:
                raise Refused(why)
            forms.append(form)
    compiled = constants.get("COMPILE", False)
    if not isinstance(compiled, bool):
        raise Refused(f"COMPILE is {compiled!r}, and must be True or False")
    return Candidate(text, tuple(forms), compiled, constants)


def _top_level(tree: ast.Module) -> tuple[dict[str, Any], dict[str, ast.FunctionDef]]:
    """Return the constants and functions of the file.  Raises Refused for a statement that defines neither a constant
    nor a function."""
    constants: dict[str, Any] = {}
    functions: dict[str, ast.FunctionDef] = {}
    for node in tree.body:
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                continue
            case ast.Import(names=[ast.alias(name="mlx.core", asname="mx")]):
                continue
            case ast.Import(names=[ast.alias(name="math", asname=None)]):
                continue
            case ast.Import() | ast.ImportFrom():
                _refuse(node, "only `import mlx.core as mx` and `import math` may be imported")
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                _free(node, name, constants, functions)
                constants[name] = _constant(value, constants)
            case ast.FunctionDef(name=name):
                _free(node, name, constants, functions)
                functions[name] = node
            case _:
                _refuse(node, f"a {type(node).__name__} at the top level is neither a constant nor a function")
    return constants, functions


def _free(node: ast.stmt, name: str, constants: Mapping[str, Any], functions: Mapping[str, Any]) -> None:
    if name in constants or name in functions:
        _refuse(node, f"{name} is defined twice")
    if name in ("mx", "math") or name in allowed.BUILT_IN or name.startswith("__"):
        _refuse(node, f"{name} may not be redefined")


def _constant(node: ast.expr, known: Mapping[str, Any]) -> Any:
    """Return the value of a constant: a number, a string, a Boolean, or a tuple of such values."""
    match node:
        case ast.Constant(value=bool() | int() | float() | str() | None):
            return node.value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            value = _constant(operand, known)
            if isinstance(value, int | float):
                return -value
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return tuple(_constant(part, known) for part in parts)
        case ast.Name(id=name) if name in known:
            return known[name]
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            a, b = _constant(left, known), _constant(right, known)
            if isinstance(a, int) and isinstance(b, int) and abs(a) <= 10 and 0 <= b <= 40:
                return a**b
    return _refuse(node, "a constant at the top level must be a number, a text, or a tuple with only numbers and texts")


def _same_parameters(function: ast.FunctionDef, wanted: tuple[str, ...]) -> None:
    found = tuple(each.arg for each in function.args.args)
    if found != wanted:
        _refuse(function, f"{function.name} takes ({', '.join(found)}), and must take ({', '.join(wanted)})")


def _refuse(node: ast.AST, why: str) -> Any:
    raise Refused(f"line {getattr(node, 'lineno', '?')}: {why}")


_STATEMENTS = (ast.Assign, ast.AnnAssign, ast.Return, ast.For, ast.If, ast.Expr, ast.Pass, ast.Break, ast.Continue)
_EXPRESSIONS = (
    *(ast.BinOp, ast.BoolOp, ast.UnaryOp, ast.Compare, ast.IfExp, ast.Tuple, ast.List, ast.Constant, ast.Name),
    *(ast.Subscript, ast.Slice, ast.Attribute, ast.Call, ast.keyword, ast.ListComp, ast.GeneratorExp, ast.Dict),
    *(ast.comprehension, ast.Starred),
)
_PARTS = (ast.operator, ast.boolop, ast.unaryop, ast.cmpop, ast.expr_context, ast.arguments, ast.arg)


class _Body:
    """Checks one function: every name that it reads must be local, a constant of the file, or an allowed name."""

    def __init__(
        self, function: ast.FunctionDef, constants: Mapping[str, Any], functions: Mapping[str, ast.FunctionDef]
    ) -> None:
        self._function = function
        names = {node.id for node in ast.walk(function) if isinstance(node, ast.Name) and _stores(node)}
        self._own = names | {arg.arg for arg in _all_arguments(function)}
        self._known = self._own | set(constants) | set(functions) | {"mx", "math"} | allowed.BUILT_IN

    def check(self) -> None:
        function = self._function
        if function.decorator_list:
            _refuse(function, "a function must have no decorator, because the harness compiles it (COMPILE = True)")
        if function.args.vararg or function.args.kwarg or function.args.defaults or function.args.kw_defaults:
            _refuse(
                function, "parameters must be plain and without defaults: a default could keep a value between calls"
            )
        written = [*(arg.annotation for arg in _all_arguments(function)), function.returns]
        if any(each is not None and not isinstance(each, ast.Name | ast.Attribute | ast.Subscript) for each in written):
            _refuse(function, "an annotation must be a type, and must not compute anything")
        if any(isinstance(node, ast.Call) for each in written if each is not None for node in ast.walk(each)):
            _refuse(function, "an annotation must be a type, and must not compute anything")
        if taken := self._own & ({"mx", "math"} | allowed.BUILT_IN):
            _refuse(function, f"{sorted(taken)[0]} may not be redefined")
        for node in _below(function):
            self._node(node)

    def _node(self, node: ast.AST) -> None:
        if not isinstance(node, (*_STATEMENTS, *_EXPRESSIONS, *_PARTS)):
            _refuse(node, _why_not(node))
        match node:
            case ast.Name(id=name) if name.startswith("__") or name not in self._known:
                _refuse(node, f"{name} is not on the list of what a candidate may use")
            case ast.Attribute():
                self._attribute(node)
            case ast.Assign(targets=targets):
                for target in targets:
                    _plain_target(target)
            case ast.AnnAssign(target=target) | ast.For(target=target):
                _plain_target(target)
            case ast.Call():
                self._call(node)
            case ast.Constant(value=int(number)) if not isinstance(number, bool) and abs(number) > 2**53:
                _refuse(node, "a whole number beyond 2**53 cannot be a size")

    def _attribute(self, node: ast.Attribute) -> None:
        if _stores(node):
            _refuse(node, f"{ast.unparse(node)} is assigned to: nothing outside of the function may change")
        owner, name = ast.unparse(node.value), node.attr
        match owner:
            case "mx":
                right = name == "fast" or name in allowed.OPERATIONS or name in allowed.NUMBER_TYPES
            case "mx.fast":
                right = name in allowed.FAST
            case "math":
                right = name in allowed.MATH
            case _:
                right = name in allowed.OF_AN_ARRAY
        if not right:
            _refuse(node, f"{owner}.{name} is not on the list of what a candidate may use{_instead(owner, name)}")

    def _call(self, node: ast.Call) -> None:
        for keyword in node.keywords:
            if keyword.arg is None or keyword.arg in allowed.KEYWORDS_REFUSED:
                wrong = f"the argument {keyword.arg or '**'} is not allowed"
                _refuse(node, f"{wrong}: work stays on the stream on which it is timed")
        match node.func:
            case ast.Name(id="range"):
                for each in node.args:
                    if isinstance(each, ast.Constant) and _large(each.value):
                        _refuse(
                            node, f"a loop of {ast.unparse(each)} rounds is too long: at most {allowed.LONGEST_RANGE:,}"
                        )
            case ast.Name() | ast.Attribute():
                return
            case _:
                _refuse(node, "only a name can be called")


def _instead(owner: str, name: str) -> str:
    if owner == "mx.fast" and name.endswith("_kernel"):
        return ": write METAL or CUDA, and the harness makes the call"
    if owner == "mx" and name in ("eval", "async_eval", "synchronize", "compile"):
        return ": the harness does that"
    return ""


def _large(value: object) -> bool:
    return isinstance(value, int) and value > allowed.LONGEST_RANGE


def _plain_target(target: ast.expr) -> None:
    for node in ast.walk(target):
        if isinstance(node, ast.Subscript):
            _refuse(node, f"{ast.unparse(node)} is assigned to: that would change an array in place")
        if not isinstance(node, ast.Name | ast.Tuple | ast.List | ast.Starred | ast.expr_context | ast.Attribute):
            _refuse(node, f"{ast.unparse(node)} cannot be assigned to")


def _why_not(node: ast.AST) -> str:
    match node:
        case ast.AugAssign():
            return "x += y changes x in place, also for the caller: write x = x + y"
        case ast.Try() | ast.TryStar():
            return "try: a candidate that fails has to fail where it can be seen"
        case ast.Import() | ast.ImportFrom():
            return "an import must stand at the top of the file"
        case ast.Global() | ast.Nonlocal():
            return "global: a function must keep nothing from one call to the next"
        case ast.FunctionDef() | ast.Lambda() | ast.ClassDef():
            return "a function inside a function could keep a value between calls"
        case ast.While():
            return "while: a loop must have a known number of rounds"
        case _:
            return f"{type(node).__name__} is more than a computation"


def _all_arguments(function: ast.FunctionDef) -> list[ast.arg]:
    return [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]


def _stores(node: ast.Name | ast.Attribute) -> bool:
    return isinstance(node.ctx, ast.Store | ast.Del)


def _below(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """Yield every node of the body except annotations, which never run."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.AnnAssign):
            waiting += [node.target, *([node.value] if node.value else [])]
        else:
            waiting += ast.iter_child_nodes(node)
