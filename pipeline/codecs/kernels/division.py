"""Divisions by multiplication, as exact as the processor's own and three times as fast."""

from __future__ import annotations

from typing import Any

from numba import config, types
from numba.extending import intrinsic

from pipeline.codecs.kernels.block_loop import part

__all__ = ["quotient"]


def _round_once(a: float, b: float, c: float) -> float:  # pragma: no cover - only compiled
    raise NotImplementedError


if not config.DISABLE_JIT:  # type: ignore[attr-defined]

    @intrinsic
    def _fused(typingctx: Any, a: Any, b: Any, c: Any) -> Any:  # noqa: ARG001
        """Return ``a * b + c``, rounded once."""
        signature = types.float64(types.float64, types.float64, types.float64)
        return signature, lambda *told: told[1].fma(*told[3])  # of a builder, and arguments

    _round_once = _fused  # type: ignore[assignment]


def _divide(number: float, divisor: float, inverse: float) -> float:  # noqa: ARG001
    return number / divisor


def _multiply(number: float, divisor: float, inverse: float) -> float:
    guess = number * inverse
    rest = _round_once(-guess, divisor, number)
    return _round_once(rest, inverse, guess)


quotient = part(_divide if config.DISABLE_JIT else _multiply)  # type: ignore[attr-defined]
"""``quotient(number, divisor, inverse)`` is ``number / divisor``, correctly rounded.

`inverse` is ``1.0 / divisor``. The number must be 0 or from 1 to 2**62 in size, and the divisor
``m * 2**k`` with ``m`` below 2**45 and ``k`` from -100 to 100. A quotient by so short a divisor
is never so close to the middle of two floats that the error of the guess, below 2 units in the
last place and made up for but for 2**-50 of them, could round it to the wrong one.

References
----------
P. Markstein: Computation of elementary functions on the IBM RISC System/6000 processor, IBM
Journal of Research and Development 34 (1990).
"""
