"""Affine maps between units, kept as fractions so that whole degrees stay whole degrees."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import SchemaError

__all__ = ["IDENTITY", "Affine"]

_EXACT: Final = 1 << 53


@dataclass(frozen=True, slots=True)
class Affine:
    """The map ``x -> (x * multiply + add) / divide``.

    With a division, 5/9 of a whole number is as good as a double can be: 212 degF are 100 degC to
    the last bit, which a factor of 0.5555555555555556 does not give. Every operation rounds
    monotonically, so the least and greatest of many values map to the least and greatest (or the
    other way round if the map decreases).

    Parameters
    ----------
    multiply, add, divide
        Finite; the first and the last are not 0.

    Raises
    ------
    SchemaError
        If they are not.
    """

    multiply: float
    add: float = 0.0
    divide: float = 1.0

    def __post_init__(self) -> None:
        for name in ("multiply", "add", "divide"):
            value: Any = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not math.isfinite(value) or (value == 0 and name != "add"):
                msg = f"{name}={value!r} of a change of units has to be a finite number, and not 0"
                raise SchemaError(msg)
            object.__setattr__(self, name, float(value))

    @classmethod
    def of_fractions(cls, factor: Fraction, offset: Fraction) -> Affine:
        """Return ``x -> factor * x + offset``, exact if its parts fit into doubles."""
        divide = math.lcm(factor.denominator, offset.denominator)
        parts = (int(factor * divide), int(offset * divide), divide)
        if max(map(abs, parts)) <= _EXACT:
            return cls(*map(float, parts))
        return cls(float(factor), float(offset))

    @property
    def inverse(self) -> Affine:
        """The map back."""
        return Affine(self.divide, -self.add, self.multiply)

    @property
    def factor(self) -> float:
        """What differences are multiplied by; negative if the map decreases."""
        return self.multiply / self.divide

    @property
    def offset(self) -> float:
        """What 0 becomes."""
        return self.add / self.divide

    @property
    def is_identity(self) -> bool:
        """Whether nothing changes."""
        return self.multiply == self.divide and self.add == 0

    @property
    def is_whole(self) -> bool:
        """Whether it can be computed in integers."""
        parts = (self.multiply, self.add, self.divide)
        return all(part.is_integer() and abs(part) <= _EXACT for part in parts)

    def apply(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return mapped values, computed in ``float64``."""
        found: NDArray[np.float64] = values.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            found *= self.multiply
            if self.add:
                found += self.add
            if self.divide != 1:
                found /= self.divide
        return found

    def apply_whole(
        self, values: NDArray[Any], valid: NDArray[np.bool_] | None
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Return mapped integers of the same dtype, exact, and which do not fit.

        Parameters
        ----------
        values
            Any integer dtype, shape (rows,).
        valid
            Bool, shape (rows,): False where the value is missing; None if none is.

        Returns
        -------
        mapped
            Without a meaning where it does not fit or is missing.
        bad
            Bool, shape (rows,): True where the value would not be whole or not fit into the dtype;
            None if there is none.
        """
        multiply, add, divide = int(self.multiply), int(self.add), int(self.divide)
        if divide < 0:
            multiply, add, divide = -multiply, -add, -divide
        used = values if valid is None else np.where(valid, values, 0)
        info = np.iinfo(values.dtype)
        bounds = (int(used.min()), int(used.max())) if len(used) else (0, 0)
        reach = max(abs(bound * multiply) + abs(add) for bound in bounds)
        # Doubles would round beyond 2**53, so what may not fit int64 is computed one by one.
        wide = used.astype(object) if reach >= 1 << 62 else used.astype(np.int64)
        scaled = wide * multiply + add
        mapped = scaled // divide
        bad = np.asarray((mapped * divide != scaled) | (mapped < info.min) | (mapped > info.max))
        bad = bad.astype(np.bool_)
        if valid is not None:
            bad &= valid
        cast = np.where(bad, 0, mapped).astype(values.dtype)
        return cast, bad if bad.any() else None

    def to_json(self) -> dict[str, float]:
        """Return the map as a JSON object."""
        return {"multiply": self.multiply, "add": self.add, "divide": self.divide}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Affine:
        """Return the map of a JSON object made by `to_json`.

        Raises
        ------
        SchemaError
            If it is none.
        """
        try:
            return cls(document["multiply"], document["add"], document["divide"])
        except (KeyError, TypeError) as error:
            msg = f"a change of units takes multiply, add and divide, not {document!r}"
            raise SchemaError(msg) from error


IDENTITY: Final = Affine(1.0)
"""The map that changes nothing."""
