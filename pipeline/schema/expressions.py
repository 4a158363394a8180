"""How a channel's values come about from stored arrays: small trees, evaluated on whole columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.model.batches import Column, missing_column
from pipeline.model.dtypes import storage_dtype
from pipeline.schema.defaults import Default, default_column
from pipeline.schema.functions import channel_function, computed
from pipeline.schema.steps import Cast, Marks, Step, joined_marks, texts_of

__all__ = [
    "Computed",
    "Constant",
    "Evaluated",
    "Expression",
    "Nothing",
    "Stepped",
    "Stored",
    "arrays_of",
    "errors_of",
    "evaluate",
]


# Whole numbers out of arithmetic on doubles are whole but for rounding; floats are rounded.
_ALLOWED: Final = {"bool": None, "float64": None, "float32": float("inf")}


@dataclass(frozen=True, slots=True)
class Stored:
    """The values of an array, as they are."""

    array: str
    dtype: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """No value in any row."""

    dtype: str


@dataclass(frozen=True, slots=True)
class Constant:
    """One value in every row."""

    value: Default
    dtype: str


@dataclass(frozen=True, slots=True)
class Stepped:
    """What a step makes of other values."""

    of: Expression
    step: Step

    @property
    def dtype(self) -> str:
        """Channel dtype of the result."""
        return self.step.target


@dataclass(frozen=True, slots=True)
class Computed:
    """One of the channels that a registered function makes of others.

    Parameters
    ----------
    inputs
        What it takes.
    function, version
        Which function it is.
    back
        Whether it is the way back.
    output, outputs
        Which of how many results.
    dtype
        Channel dtype of the result.
    """

    inputs: tuple[Expression, ...]
    function: str
    version: int
    back: bool
    output: int
    outputs: int
    dtype: str


type Expression = Stored | Nothing | Constant | Stepped | Computed


@dataclass(frozen=True, slots=True, eq=False)
class Evaluated:
    """Values of an expression.

    Parameters
    ----------
    column
        As it is stored; of a category, with its texts. Values that did not fit are missing.
    refused
        Rows with a value that did not fit, of which readers are told; None if there is none.
    dropped
        Rows with a value that did not fit and that readers find missing; None if there is none.
    """

    column: Column
    refused: Marks = None
    dropped: Marks = None


def arrays_of(expression: Expression) -> tuple[str, ...]:
    """Return the names of the arrays that are read, each once."""
    match expression:
        case Stored(array=array):
            return (array,)
        case Stepped(of=inner):
            return arrays_of(inner)
        case Computed(inputs=inputs):
            return tuple(dict.fromkeys(name for one in inputs for name in arrays_of(one)))
        case _:
            return ()


def errors_of(expression: Expression) -> tuple[str, ...]:
    """Return in words how values may differ from what was stored; empty if they cannot."""
    match expression:
        case Stepped(of=inner, step=step):
            return (*errors_of(inner), *([step.error] if step.error else []))
        case Computed(inputs=inputs, function=name, version=version):
            made = f"made by version {version} of the function {name!r}"
            return (*(text for one in inputs for text in errors_of(one)), made)
        case _:
            return ()


def evaluate(expression: Expression, columns: Mapping[str, Column], rows: int) -> Evaluated:
    """Return the values of an expression.

    Parameters
    ----------
    expression
        What to compute.
    columns
        By array, its values; categories with their texts.
    rows
        How many rows there are.

    Raises
    ------
    NotFoundError
        If a function is not registered.
    """
    match expression:
        case Stored(array=array):
            return Evaluated(columns[array])
        case Nothing(dtype=dtype):
            return Evaluated(_nothing(dtype, rows))
        case Constant(value=value, dtype=dtype):
            return Evaluated(default_column(dtype, value, rows))
        case Stepped(of=inner, step=step):
            return _stepped(evaluate(inner, columns, rows), step)
        case Computed():
            return _computed(expression, columns, rows)


def _nothing(dtype: str, rows: int) -> Column:
    column = missing_column(rows, storage_dtype(dtype))
    if dtype == "category":
        return Column(np.zeros(rows, np.int32), column.valid, ())
    return column


def _stepped(given: Evaluated, step: Step) -> Evaluated:
    column, bad = step.apply(given.column)
    refused, dropped = given.refused, given.dropped
    if bad is not None:
        if step.misfits_missing:
            dropped = joined_marks(dropped, bad)
        else:
            refused = joined_marks(refused, bad)
        valid = ~bad if column.valid is None else column.valid & ~bad
        column = Column(column.values, valid, column.categories)
    return Evaluated(column, refused, dropped)


def _computed(expression: Computed, columns: Mapping[str, Column], rows: int) -> Evaluated:
    given = [evaluate(one, columns, rows) for one in expression.inputs]
    refused: Marks = None
    dropped: Marks = None
    some = np.ones(rows, np.bool_)
    for one in given:
        refused, dropped = joined_marks(refused, one.refused), joined_marks(dropped, one.dropped)
        if one.column.valid is not None:
            some &= one.column.valid
    function = channel_function(expression.function, expression.version)
    if expression.back and function.backward is None:
        return Evaluated(_nothing(expression.dtype, rows), refused, dropped)
    inputs = [_input(one.column, some) for one in given]
    made = computed(function, inputs, expression.outputs, back=expression.back)
    values = np.full(rows, np.nan)
    values[some] = made[expression.output]
    valid = ~np.isnan(values)
    column = Column(np.where(valid, values, 0.0), None if valid.all() else valid)
    result = Evaluated(column, refused, dropped)
    return _stepped(result, Cast("float64", expression.dtype, _ALLOWED.get(expression.dtype, 1e-6)))


def _input(column: Column, some: NDArray[np.bool_]) -> NDArray[Any]:
    if column.categories is not None:
        return texts_of(column)[some]
    return column.values[some].astype(np.float64)
