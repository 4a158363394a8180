"""Steps from, to and between the texts of categories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.model.batches import Column
from pipeline.model.dtypes import storage_dtype
from pipeline.model.number_texts import parse_numbers
from pipeline.schema.affine import Affine
from pipeline.schema.steps import Converted

__all__ = ["Retext", "Spell", "Unspell"]

Pairs = tuple[tuple[float, str], ...]


class _OfTexts:
    """What all steps with texts have in common: the order of texts says nothing of numbers."""

    __slots__ = ()

    @property
    def error(self) -> str:
        """How far a value may be from what it was: not at all."""
        return ""

    @property
    def direction(self) -> int:
        """Texts have no order."""
        return 0

    @property
    def moments(self) -> Affine | None:
        """Texts have no sums."""
        return None

    def fits(self, low: NDArray[Any], _high: NDArray[Any]) -> NDArray[np.bool_]:
        """Return where every value from `low` to `high` is sure to fit: nowhere."""
        return np.zeros(low.shape, np.bool_)


@dataclass(frozen=True, slots=True)
class Retext(_OfTexts):
    """Other texts for some categories; two texts may become one.

    Parameters
    ----------
    renamed
        Old and new text; others stay.
    """

    renamed: tuple[tuple[str, str], ...]

    @property
    def target(self) -> str:
        """Channel dtype of the result."""
        return "category"

    @property
    def misfits_missing(self) -> bool:
        """Everything fits."""
        return False

    def apply(self, column: Column) -> Converted:
        """Convert a column."""
        names = dict(self.renamed)
        old = column.categories or ()
        new = tuple(dict.fromkeys(names.get(text, text) for text in old))
        if len(new) == len(old):
            return Column(column.values, column.valid, new), None
        place = {text: at for at, text in enumerate(new)}
        codes = np.array([place[names.get(text, text)] for text in old] + [-1], np.int32)
        return Column(codes[np.clip(column.values, -1, len(old))], column.valid, new), None

    def inverse(self) -> Retext:
        """Return the way back, of those texts that only one text became."""
        targets = [new for _, new in self.renamed]
        return Retext(tuple((new, old) for old, new in self.renamed if targets.count(new) == 1))


@dataclass(frozen=True, slots=True)
class Spell(_OfTexts):
    """Numbers or bools become texts.

    Parameters
    ----------
    source
        Channel dtype of the numbers.
    pairs
        Number and text. Other numbers do not fit.
    misfits_missing
        Whether readers find them missing.
    """

    source: str
    pairs: Pairs
    misfits_missing: bool = False

    @property
    def target(self) -> str:
        """Channel dtype of the result."""
        return "category"

    def apply(self, column: Column) -> Converted:
        """Convert a column."""
        texts = tuple(dict.fromkeys(text for _, text in self.pairs))
        codes = np.full(len(column), -1, np.int32)
        for number, text in self.pairs:
            codes[column.values == number] = texts.index(text)
        bad = codes < 0
        if column.valid is not None:
            bad &= column.valid
        found = Column(np.maximum(codes, 0), column.valid, texts)
        return found, bad if bad.any() else None

    def inverse(self) -> Unspell:
        """Return the step back."""
        return Unspell(self.source, self.pairs, self.misfits_missing)


@dataclass(frozen=True, slots=True)
class Unspell(_OfTexts):
    """Texts become numbers or bools.

    Parameters
    ----------
    target
        Channel dtype of the result.
    pairs
        Number and text; without any, texts are read as numbers.
    misfits_missing
        Whether readers find texts that are no number missing.
    """

    target: str
    pairs: Pairs = ()
    misfits_missing: bool = False

    def apply(self, column: Column) -> Converted:
        """Convert a column."""
        texts, dtype = column.categories or (), storage_dtype(self.target)
        table, known = self._numbers(texts, dtype)
        codes = np.clip(column.values, -1, len(texts))
        bad = ~known[codes]
        if column.valid is not None:
            bad &= column.valid
        return Column(table[codes], column.valid), bad if bad.any() else None

    def inverse(self) -> Spell:
        """Return the step back, which without pairs knows no text for any number."""
        return Spell(self.target, self.pairs, self.misfits_missing)

    def _numbers(
        self, texts: tuple[str, ...], dtype: np.dtype[Any]
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return the number of each text, and which have one; the last entry is for no text."""
        table, known = np.zeros(len(texts) + 1, dtype), np.zeros(len(texts) + 1, np.bool_)
        if self.pairs:
            numbers = {text: number for number, text in reversed(self.pairs)}
            for at, text in enumerate(texts):
                if text in numbers:
                    table[at], known[at] = numbers[text], True
        elif texts:
            found, reasons = parse_numbers(pa.array(list(texts), pa.string()), self.target)
            table[:-1], known[:-1] = found.astype(dtype), True
            known[list(reasons)] = False
        return table, known
