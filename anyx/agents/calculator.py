"""A calculator: arithmetic as Python writes it, and nothing else. Its cost is bounded before anything is computed.

Numbers, `+ - * / // % **`, brackets, and a few functions and constants of `math`. Whole numbers stay exact up to 4096
bits; a power that would be larger is refused by its size alone, so that `9**9**9` costs nothing.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from typing import Annotated

LONGEST = 256  # characters
BITS = 4096
Number = int | float
UNARY: dict[type, Callable[[Number], Number]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
BINARY: dict[type, Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
FUNCTIONS: dict[str, Callable[..., Number]] = {
    "abs": abs, "round": round, "min": min, "max": max, "sqrt": math.sqrt, "log": math.log, "exp": math.exp,
    "sin": math.sin, "cos": math.cos, "tan": math.tan, "floor": math.floor, "ceil": math.ceil,
}  # fmt: skip
CONSTANTS = {"pi": math.pi, "e": math.e}


def calculator(expression: Annotated[str, "such as 3 * (4 + 5)"]) -> str:
    """Compute an arithmetic expression."""
    text = expression.strip().rstrip("=").replace("\u00d7", "*").replace("\u00f7", "/").replace("^", "**")
    if len(text) > LONGEST:
        raise ValueError(f"the expression has {len(text)} characters; {LONGEST} at most")
    try:
        value = computed(ast.parse(text, mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError(f"{text!r} is no arithmetic expression") from None
    except ZeroDivisionError:
        raise ValueError("division by zero") from None
    except (OverflowError, TypeError) as error:
        raise ValueError(f"{text!r} cannot be computed: {error}") from None
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else str(value)


def computed(node: ast.expr) -> Number:
    """The value of an expression; ValueError where it is none of those allowed."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return held(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.Name) and node.id in CONSTANTS:
        return CONSTANTS[node.id]
    if isinstance(node, ast.UnaryOp) and type(node.op) in UNARY:
        return UNARY[type(node.op)](computed(node.operand))
    if isinstance(node, ast.BinOp) and type(node.op) in BINARY:
        left, right = computed(node.left), computed(node.right)
        if isinstance(node.op, ast.Pow):
            check_power(left, right)
        return held(BINARY[type(node.op)](left, right))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args and not node.keywords:
        function = FUNCTIONS.get(node.func.id)
        if function is not None:
            return held(function(*map(computed, node.args)))
    known = f"numbers, + - * / // % **, brackets, {', '.join((*FUNCTIONS, *CONSTANTS))}"
    raise ValueError(f"{ast.unparse(node)[:80]!r} is not computed here; allowed: {known}")


def check_power(base: Number, exponent: Number) -> None:
    """Refuse a power of whole numbers that would have more than `BITS`."""
    if isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1 and exponent > 0:
        if exponent * math.log2(abs(base)) > BITS:
            raise ValueError(f"the power is too large: more than {BITS} bits")
    elif isinstance(base, int) and isinstance(exponent, int) and exponent < -1023:
        raise ValueError("the power is too small")


def held(value: Number | complex) -> Number:
    """A number that is real, finite and not too large."""
    if isinstance(value, complex) or not (isinstance(value, int) or math.isfinite(value)):
        raise ValueError(f"the value {value} is no finite real number")
    if isinstance(value, int) and value.bit_length() > BITS:
        raise ValueError(f"a number is too large: more than {BITS} bits")
    return value
