"""Filters: expressions over dotted keys that decide which combinations of values are tried.

Python parses an expression; this module computes it. The file may come from a stranger, so an expression has few parts:
keys, literals, arithmetic of numbers, comparisons, and three functions. It can neither reach into Python nor fill the
memory.
"""

import ast
import math
import operator
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator

from mt_sweeps.errors import short_repr
from mt_sweeps.search_space.distributions import Values

MAX_LENGTH = 500
"""Characters of an expression."""
MAX_DEPTH = 260
"""Levels of its tree. The longest sum has 251 of them: one per term, and Python's recursion ends at 1,000."""
MAX_BITS = 4096
"""Of an integer in arithmetic, so that a result can be computed and printed at once."""
FUNCTIONS: dict[str, Callable[..., Any]] = {"min": min, "max": max, "abs": abs}
ALLOWED = "keys, numbers, 'words', [lists], + - * / // % **, comparisons, in, and, or, not, if else, min, max, abs"


class Filter:
    """One expression, which allows a combination of values or rules it out.

    Args:
        text: the expression, such as `optimizer.learning_rate * batch_size <= 100`.

    Raises:
        ValueError: the text is not an expression, or uses parts of Python that filters do not have.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._tree = _parse(text)
        nodes = list(ast.walk(self._tree))
        functions = [node.func for node in nodes if isinstance(node, ast.Call)]
        self.keys = {node.id for node in nodes if isinstance(node, ast.Name) and node not in functions}
        """The dotted keys that the expression names."""

    def holds(self, values: Values) -> bool:
        """Return True if the expression allows a combination of values.

        A combination that lacks one of the expression's keys is allowed: the filter does not concern it.

        Args:
            values: of the searched keys and of those that are fixed.

        Raises:
            ValueError: the expression cannot be computed for these values, or is neither true nor false for them.
        """
        if not self.keys <= values.keys():
            return True
        try:
            result = _evaluate(self._tree, values)
        except (TypeError, ArithmeticError, ValueError, RecursionError) as error:
            raise ValueError(f"cannot be computed for {self._values_text(values)}: {error}") from None
        if not isinstance(result, bool):
            raise ValueError(
                f"gives {short_repr(result)} for {self._values_text(values)}, neither true nor false; "
                "compare it with something"
            )
        return result

    def _values_text(self, values: Values) -> str:
        chosen = {key: values[key] for key in sorted(self.keys)}
        texts = [f"{key}: {value if isinstance(value, str) else short_repr(value)}" for key, value in chosen.items()]
        return ", ".join(texts) or "any values"


def _check_expression(text: str) -> str:
    Filter(text)
    return text


Expression = Annotated[str, AfterValidator(_check_expression)]
"""The text of a filter in a file; validation refuses what is not an expression."""


def _parse(text: str) -> ast.expr:
    """Return the tree of an expression that has only the parts that filters have.

    Raises:
        ValueError: the text is too long, is not an expression, or has other parts.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"is longer than {MAX_LENGTH} characters; make it several filters")
    source = text.strip()
    try:
        tree: ast.expr = ast.parse(source, mode="eval").body
        if _depth(tree) > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
        tree = _DottedNames().visit(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(
            f"{text!r} is no expression: {getattr(error, 'msg', None) or error}; "
            "write it like 'optimizer.learning_rate * batch_size <= 100'"
        ) from None
    for node in ast.walk(tree):
        if not _is_allowed(node):
            part = ast.get_source_segment(source, node) or type(node).__name__
            raise ValueError(f"{part!r} is not allowed; filters have {ALLOWED}")
    return tree


def _depth(tree: ast.AST) -> int:
    """Return the number of levels of a tree, without recursion."""
    depth, level = 0, [tree]
    while level:
        depth += 1
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return depth


class _DottedNames(ast.NodeTransformer):
    """Turns a dotted key into one name, so that no attribute is looked up, and YAML's true and false into constants."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        owner = self.visit(node.value)
        return ast.Name(f"{owner.id}.{node.attr}", ast.Load()) if isinstance(owner, ast.Name) else node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Constant(node.id == "true") if node.id in ("true", "false") else node


def _is_allowed(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, bool | int | float | str)
    if isinstance(node, ast.Call):
        return not node.keywords and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS
    return isinstance(node, _OTHER_PARTS)


def _of_numbers(compute: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return the operator for numbers alone: with words, lists or huge integers it could fill the memory."""

    def checked(left: Any, right: Any) -> Any:
        for operand in (left, right):
            if isinstance(operand, float):
                continue
            if not isinstance(operand, int):
                raise TypeError(f"{operand!r} is not a number")
            if operand.bit_length() > MAX_BITS:
                raise OverflowError(f"an integer is larger than 2**{MAX_BITS}")
        return compute(left, right)

    return checked


OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: _of_numbers(operator.add),
    ast.Sub: _of_numbers(operator.sub),
    ast.Mult: _of_numbers(operator.mul),
    ast.Div: _of_numbers(operator.truediv),
    ast.FloorDiv: _of_numbers(operator.floordiv),
    ast.Mod: _of_numbers(operator.mod),
    ast.Pow: _of_numbers(math.pow),  # of floats: a huge result is an error at once, not a long computation
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, items: item in items,
    ast.NotIn: lambda item, items: item not in items,
}

_EXPRESSIONS = (ast.Name, ast.List, ast.Tuple, ast.UnaryOp, ast.BinOp, ast.BoolOp, ast.Compare, ast.IfExp)
_OTHER_PARTS = (*_EXPRESSIONS, ast.Load, ast.And, ast.Or, *OPERATORS)


def _evaluate(node: ast.expr, values: Values) -> Any:
    """Return the value of an expression, computed in Python's order: what decides nothing is not computed."""
    match node:
        case ast.Name():
            return values[node.id]
        case ast.Constant():
            return node.value
        case ast.BinOp():
            return OPERATORS[type(node.op)](_evaluate(node.left, values), _evaluate(node.right, values))
        case ast.Compare():
            result: Any = True
            left = _evaluate(node.left, values)
            for comparison, comparator in zip(node.ops, node.comparators, strict=True):
                right = _evaluate(comparator, values)
                result = OPERATORS[type(comparison)](left, right)
                if not result:
                    break
                left = right
            return result
        case ast.BoolOp():
            result = None
            for operand in node.values:
                result = _evaluate(operand, values)
                if bool(result) is isinstance(node.op, ast.Or):
                    break
            return result
        case ast.List() | ast.Tuple():
            items = [_evaluate(item, values) for item in node.elts]
            return items if isinstance(node, ast.List) else tuple(items)
        case ast.UnaryOp():
            return OPERATORS[type(node.op)](_evaluate(node.operand, values))
        case ast.IfExp():
            return _evaluate(node.body if _evaluate(node.test, values) else node.orelse, values)
        case ast.Call(func=ast.Name(id=name)):
            return FUNCTIONS[name](*[_evaluate(argument, values) for argument in node.args])
    raise TypeError(f"{type(node).__name__} is not a part of filters")  # `_parse` lets none through
