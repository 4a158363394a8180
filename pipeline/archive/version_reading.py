"""What stands between the blocks of each version of a schema and the channels of the version that is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pipeline.model.batches import Column
from pipeline.schema.channels import Channel
from pipeline.schema.conversions import Conversion, conversions
from pipeline.schema.versions import SchemaHistory

__all__ = ["VersionReading"]


@dataclass(frozen=True, eq=False)
class VersionReading:
    """How blocks of any version are read as one version.

    Parameters
    ----------
    history
        All versions.
    target
        Number of the version that is read.
    stored_texts
        By array, the texts of its codes.
    """

    history: SchemaHistory
    target: int
    stored_texts: Mapping[str, tuple[str, ...]]
    _known: dict[int, dict[str, Conversion]] = field(default_factory=dict, repr=False)

    def of(self, channel: str, version: int) -> Conversion:
        """Return how blocks of a version give a channel."""
        if version not in self._known:
            self._known[version] = conversions(self.history, version, self.target)
        return self._known[version][channel]

    def every(self, channel: str) -> dict[int, Conversion]:
        """Return how blocks of every version give a channel, by version."""
        return {version.number: self.of(channel, version.number) for version in self.history}

    def arrays(self, channel: str) -> tuple[Channel, ...]:
        """Return the arrays that a channel's values may come from, oldest version first."""
        names = dict.fromkeys(name for one in self.every(channel).values() for name in one.arrays)
        return tuple(self.history.stored[name] for name in names)

    def single(self, channel: str) -> Channel | None:
        """Return the array of a channel that every block has as it is, or not at all; else None."""
        found = self.every(channel).values()
        if all(one.is_plain or one.is_missing for one in found):
            arrays = self.arrays(channel)
            return arrays[0] if len(arrays) == 1 else None
        return None

    def texts(self, channel: str) -> tuple[str, ...]:
        """Return the texts of a category in the order of the codes that readers get."""
        return self._texts[channel]

    def columns(self, decoded: Mapping[str, Column]) -> dict[str, Column]:
        """Return what a conversion takes, with the texts of categories."""
        return {
            name: Column(column.values, column.valid, self.stored_texts.get(name, ()))
            if self.history.stored[name].dtype == "category"
            else column
            for name, column in decoded.items()
        }

    def converted(self, conversion: Conversion, decoded: Mapping[str, Column], rows: int) -> Column:
        """Return a channel's values, as readers get them, of categories the codes.

        Parameters
        ----------
        conversion
            From `of`.
        decoded
            By array, what is stored of the rows.
        rows
            How many rows there are.

        Raises
        ------
        SchemaError
            If a value does not fit.
        """
        column = conversion.convert(self.columns(decoded), rows)
        if column.categories is None:
            return column
        codes = self._codes(conversion.channel.name, column.categories)
        safe = column.values if column.valid is None else np.where(column.valid, column.values, -1)
        return Column(codes[safe], column.valid)

    def _codes(self, channel: str, texts: tuple[str, ...]) -> NDArray[np.int32]:
        """Return readers' code of each text; the last entry stands for missing."""
        position = {text: at for at, text in enumerate(self.texts(channel))}
        return np.array([*(position[text] for text in texts), -1], np.int32)

    @cached_property
    def _texts(self) -> dict[str, tuple[str, ...]]:
        schema = self.history[self.target].schema
        return {one.name: self._all_texts(one.name) for one in schema if one.dtype == "category"}

    def _all_texts(self, channel: str) -> tuple[str, ...]:
        """Return the texts of the version's own array, and what texts of other versions become."""
        array = self.history[self.target].arrays[channel]
        found = dict.fromkeys(self.stored_texts.get(array, ()))
        for version in self.history:
            conversion = self.of(channel, version.number)
            if not conversion.is_plain:
                found |= dict.fromkeys(self._made_texts(conversion))
        return tuple(found)

    def _made_texts(self, conversion: Conversion) -> tuple[str, ...]:
        # One row for every text there is tells all that can come out.
        counts = [len(self.stored_texts.get(name, ())) for name in conversion.arrays]
        rows = max(counts, default=0)
        samples = {
            name: Column(np.minimum(np.arange(rows), max(count - 1, 0)).astype(np.int32))
            for name, count in zip(conversion.arrays, counts, strict=True)
            if self.history.stored[name].dtype == "category"
        }
        numbers = {
            name: Column(np.zeros(rows, self.history.stored[name].dtype.replace("bool", "int8")))
            for name in conversion.arrays
            if name not in samples
        }
        columns = self.columns(samples | numbers)
        return conversion.evaluate(columns, rows).column.categories or ()
