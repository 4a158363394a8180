"""Arrow expressions taken apart.

Arrow has no way to look into an expression, but pickles it as an Arrow file: its literals are
columns, and the schema's metadata is its tree in prefix order. What is not found there as expected
is `UNKNOWN`, and Arrow, which filters the rows in any case, leaves out what should not be there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.api.rows.filters import (
    MIRRORED,
    UNKNOWN,
    Compare,
    Filter,
    Literal,
    Missing,
    Moment,
    OneOf,
    Present,
    every,
    some,
)

__all__ = ["Parsed", "literal_of", "parse_expression"]

_LINE: Final = re.compile(r"(\w+): '(.*)'")
_COMPARISONS: Final = {
    "equal": "==", "not_equal": "!=",
    "less": "<", "less_equal": "<=",
    "greater": ">", "greater_equal": ">=",
}  # fmt: skip
_PER_SECOND: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


@dataclass(frozen=True, slots=True)
class Parsed:
    """What an expression asks for.

    Parameters
    ----------
    filter
        What every row satisfies for which the expression is true.
    columns
        Names of all columns in it; None if that is not known.
    """

    filter: Filter
    columns: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class _Column:
    name: str


@dataclass(frozen=True, slots=True)
class _Value:
    scalar: Any

    @property
    def is_never_true(self) -> bool:
        value = self.scalar.as_py()
        return value is None or value is False


@dataclass(slots=True)
class _Call:
    name: str
    arguments: list[Any] = field(default_factory=list)
    options: Any = None


def parse_expression(expression: pc.Expression | None) -> Parsed:
    """Return what can be told of an expression, and which columns it looks at.

    Parameters
    ----------
    expression
        Any expression that is true of the rows wanted; None for all rows.
    """
    if expression is None:
        return Parsed(UNKNOWN, frozenset())
    try:
        pickled = expression.__reduce__()[1][0]
        file = pa.ipc.open_file(pickled)
        tokens = list(_tokens(file.schema))
        tree = _tree(tokens, file.get_batch(0))
    except (pa.ArrowException, ValueError, LookupError, TypeError):
        return Parsed(UNKNOWN, None)
    names = frozenset(value for key, value in tokens if key == "field_ref")
    return Parsed(_condition(tree), names)


def literal_of(scalar: pa.Scalar) -> Literal | None:
    """Return an Arrow scalar as a literal; None if it is missing or of any other type."""
    kind = scalar.type
    if not scalar.is_valid:
        return None
    if pa.types.is_dictionary(kind):
        return literal_of(scalar.dictionary[scalar.index.as_py()])
    if pa.types.is_timestamp(kind):
        if kind.tz is None:
            return None
        return Moment(Decimal(scalar.value) * 10**6 / _PER_SECOND[kind.unit])
    is_plain = (
        pa.types.is_boolean(kind)
        or pa.types.is_integer(kind)
        or kind in (pa.float32(), pa.float64())
        or kind in (pa.string(), pa.large_string(), pa.string_view())
    )
    value: Literal | None = scalar.as_py() if is_plain else None
    return value


def _tokens(schema: pa.Schema) -> Iterator[tuple[str, str]]:
    """Yield the tree's words in order; the metadata's mapping would keep one of each kind."""
    text = schema.to_string(truncate_metadata=False, show_field_metadata=False)
    _, _, words = text.partition("-- schema metadata --\n")
    for line in words.split("\n"):
        found = _LINE.fullmatch(line)
        if found is None:
            raise ValueError(line)
        yield found[1], found[2]


def _tree(tokens: Sequence[tuple[str, str]], literals: pa.RecordBatch) -> Any:
    calls = [_Call("")]
    for key, value in tokens:
        match key:
            case "call":
                calls.append(_Call(value))
            case "field_ref":
                calls[-1].arguments.append(_Column(value))
            case "literal":
                calls[-1].arguments.append(_Value(literals.column(int(value))[0]))
            case "options":
                calls[-1].options = literals.column(int(value))[0]
            case "end":
                call = calls.pop()
                calls[-1].arguments.append(_meaning(call))
            case _:
                raise ValueError(key)
    (tree,) = calls[0].arguments
    return tree


def _meaning(call: _Call) -> Filter:
    match call.name, call.arguments:
        case ("and_kleene" | "and", parts):
            return every(map(_condition, parts))
        case ("or_kleene" | "or", parts):
            return some(map(_condition, parts))
        case ("is_in", [_Column(name)]):
            return _one_of(name, call.options["value_set"])
        case ("is_null" | "is_nan", [_Column(name)]):
            return Missing(name)
        case ("is_valid", [_Column(name)]):
            return Present(name)
        case ("invert", [_Column(name)]):
            return Compare(name, "==", False)
        case ("if_else", [condition, then, _Value() as otherwise]) if otherwise.is_never_true:
            return every([_condition(condition), _condition(then)])
        case (name, [_Column(column), _Value(scalar)]) if name in _COMPARISONS:
            return _comparison(column, _COMPARISONS[name], scalar)
        case (name, [_Value(scalar), _Column(column)]) if name in _COMPARISONS:
            return _comparison(column, MIRRORED[_COMPARISONS[name]], scalar)
    return UNKNOWN


def _condition(part: Any) -> Filter:
    match part:
        case _Column(name):
            return Compare(name, "==", True)
        case _Value():
            return UNKNOWN
    found: Filter = part
    return found


def _comparison(column: str, operator: str, scalar: pa.Scalar) -> Filter:
    value = literal_of(scalar)
    return UNKNOWN if value is None else Compare(column, operator, value, nan=operator == "!=")


def _one_of(column: str, wanted: pa.ListScalar) -> Filter:
    values = [(scalar, literal_of(scalar)) for scalar in wanted.values]
    if any(value is None and scalar.is_valid for scalar, value in values):
        return UNKNOWN
    # Arrow finds NaN among values that are NaN, unlike a comparison.
    known = tuple(value for _, value in values if value is not None and value == value)
    return OneOf(column, known, missing=len(known) < len(values))
