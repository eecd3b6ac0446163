"""Filters: expressions over dotted keys that say which combinations of values are tried.

`simpleeval` computes them. What it is given is less than it could do: names, literals and numbers' arithmetic, no
attributes, no subscripts and three functions, so that a file from elsewhere can neither reach into Python nor fill the
memory.
"""

import ast
import math
import operator
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator
from simpleeval import EvalWithCompoundTypes

from mt_sweeps.search_space.distributions import Values

LONGEST = 500  # characters
FUNCTIONS = {"min": min, "max": max, "abs": abs}
ALLOWED = "keys, numbers, 'words', [lists], + - * / // % **, comparisons, in, and, or, not, if else, min, max, abs"


def _of_numbers(compute: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Arithmetic without what Python makes of + * % for words and lists, some of which fills the memory."""

    def checked(a: Any, b: Any) -> Any:
        for value in (a, b):
            if not isinstance(value, int | float):
                raise TypeError(f"{value!r} is no number")
        return compute(a, b)

    return checked


OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: _of_numbers(operator.add),
    ast.Sub: _of_numbers(operator.sub),
    ast.Mult: _of_numbers(operator.mul),
    ast.Div: _of_numbers(operator.truediv),
    ast.FloorDiv: _of_numbers(operator.floordiv),
    ast.Mod: _of_numbers(operator.mod),
    ast.Pow: _of_numbers(math.pow),  # of floats: overflows instead of growing
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
NODES = (ast.Name, ast.Constant, ast.List, ast.Tuple, ast.UnaryOp, ast.BinOp, ast.BoolOp, ast.Compare, ast.IfExp)
PARTS = (*NODES, ast.Call, ast.Load, ast.And, ast.Or, *OPERATORS)


class Filter:
    """One expression, which holds for a combination or rules it out.

    Args:
        text: the expression.

    Raises:
        ValueError: it is no expression, or has parts that filters do not have.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        if len(text) > LONGEST:
            raise ValueError(f"is longer than {LONGEST} characters; make it several filters")
        try:
            tree = ast.parse(text.strip(), mode="eval").body
            self._tree = _DottedNames().visit(tree)
            nodes = list(ast.walk(self._tree))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise ValueError(
                f"{text!r} is no expression: {getattr(error, 'msg', None) or error}; "
                "write it like 'optimizer.learning_rate * batch_size <= 100'"
            ) from None
        called = [node.func for node in nodes if isinstance(node, ast.Call)]
        for node in nodes:
            refused = not isinstance(node, PARTS)
            refused |= isinstance(node, ast.Constant) and not isinstance(node.value, bool | int | float | str)
            refused |= isinstance(node, ast.Call) and (
                bool(node.keywords) or not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS
            )
            if refused:
                shown = ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__
                raise ValueError(f"{shown!r} is not allowed; filters have {ALLOWED}")
        self.keys = {node.id for node in nodes if isinstance(node, ast.Name) and node not in called}
        self._evaluator = EvalWithCompoundTypes(operators=OPERATORS, functions=dict(FUNCTIONS))
        self._evaluator.functions = dict(FUNCTIONS)  # it adds some to those that it is given
        self._evaluator.nodes = {kind: self._evaluator.nodes[kind] for kind in (*NODES, ast.Call)}

    def holds(self, values: Values) -> bool:
        """Whether it allows a combination; one without a key that it names is none of its concern.

        Args:
            values: of the searched keys and of those that are fixed.

        Raises:
            ValueError: it cannot be computed for these values, or gives neither true nor false.
        """
        if not self.keys <= values.keys():
            return True
        self._evaluator.names = values
        try:
            found = self._evaluator.eval(self.text, previously_parsed=self._tree)
        except Exception as error:
            raise ValueError(f"cannot be computed for {self._shown(values)}: {error}") from None
        if not isinstance(found, bool):
            raise ValueError(
                f"gives {found!r} for {self._shown(values)}, neither true nor false; compare it with something"
            )
        return found

    def _shown(self, values: Values) -> str:
        return ", ".join(f"{key}: {values[key]}" for key in sorted(self.keys)) or "any values"


def _parsed(text: str) -> str:
    Filter(text)
    return text


Expression = Annotated[str, AfterValidator(_parsed)]
"""The text of a filter, in a file."""


class _DottedNames(ast.NodeTransformer):
    """Makes a dotted key one name, so that attributes are never looked up; true and false are YAML's."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        owner = self.visit(node.value)
        return ast.Name(f"{owner.id}.{node.attr}", ast.Load()) if isinstance(owner, ast.Name) else node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Constant(node.id == "true") if node.id in ("true", "false") else node
