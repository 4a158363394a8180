"""Rows of plain columns: arrays of the right types and lists of texts, which most writers hand over.

They are held as the bytes of their columns until they are committed: thousands of small Arrow
batches took longer to make, to join and to let go of than all else that is done with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.ingest.row_messages import RowMessages
from pipeline.ingest.text_codes import TextCodes

__all__ = ["PlainForm", "PlainRows"]

_TIME: Final = pa.timestamp("us", "UTC")

_MOST_TEXTS: Final = 1 << 16
"""Texts of a channel that are kept in mind; where more come they hardly come again."""


@dataclass(frozen=True, slots=True, eq=False)
class _Column:
    """A column: `dtype` is what arrays of it have, `texts` the codes of its texts if it has some."""

    name: str
    kind: pa.DataType
    dtype: np.dtype[Any]
    texts: TextCodes | None

    def take(self, values: Any, rows: int) -> tuple[bytes, tuple[bytes, ...]] | None:
        """Return values as they are held, and their Arrow buffers; None if they are not just that."""
        if self.texts is not None:
            found = _texts(values, rows)
            coded = None if found is None else self.texts.encode(found)
            return None if coded is None else (coded.codes, (b"", coded.offsets, coded.data))
        # Exactly arrays: a masked array, say, knows of missing values.
        if type(values) is not np.ndarray or values.dtype != self.dtype or values.shape != (rows,):
            return None
        # A copy: the writer may use its arrays again as soon as the write returns.
        raw = values.tobytes()
        if self.dtype == np.bool_:
            return raw, (b"", np.packbits(values, bitorder="little").tobytes())
        return raw, (b"", raw)

    def nothing(self, rows: int) -> tuple[bytes, ...]:
        """Return the Arrow buffers of a column all of whose values are missing."""
        valid = bytes((rows + 7) // 8)
        if self.texts is not None:
            return valid, bytes(4 * (rows + 1)), b""
        return valid, valid if self.dtype == np.bool_ else bytes(rows * self.dtype.itemsize)

    def joined(self, parts: Sequence[bytes], sizes: Sequence[int]) -> pa.Array:
        """Return the rows of some writes as one array; texts as a dictionary."""
        width = self.dtype.itemsize
        missing = [not part and size > 0 for part, size in zip(parts, sizes, strict=True)]
        mask = np.repeat(missing, sizes) if any(missing) else None
        if mask is not None:
            filled = zip(parts, sizes, missing, strict=True)
            parts = [bytes(size * width) if gone else part for part, size, gone in filled]
        values = np.frombuffer(b"".join(parts), self.dtype)
        if self.texts is None:
            return pa.array(values, mask=mask).cast(self.kind)
        used = np.zeros(max(1, len(self.texts)), np.bool_)
        used[values if mask is None else values[~mask]] = True
        kinds = np.flatnonzero(used)
        place = (np.cumsum(used) - 1).astype(np.int32)
        known = pa.array([self.texts[code] for code in kinds.tolist()], pa.string())
        return pa.DictionaryArray.from_arrays(pa.array(place[values], mask=mask), known)


@dataclass(frozen=True, slots=True, eq=False)
class PlainRows:
    """The rows of one write.

    Parameters
    ----------
    form
        Which columns they have.
    num_rows
        How many they are.
    columns
        The values of each column: texts as their codes, bools as bytes; empty if all are missing.
    """

    form: PlainForm
    num_rows: int
    columns: tuple[bytes, ...]

    @property
    def codes(self) -> NDArray[np.int32]:
        """The codes of their devices, ``int32``, shape (rows,)."""
        return np.frombuffer(self.columns[0], np.int32)

    @property
    def time(self) -> NDArray[np.int64]:
        """Their times, ``int64``, shape (rows,): microseconds since 1970-01-01 UTC."""
        return np.frombuffer(self.columns[1], np.int64)

    def to_batch(self) -> pa.RecordBatch:
        """Return them as a record batch of the form's schema."""
        table = self.form.table([self]).cast(self.form.schema)
        return table.combine_chunks().to_batches()[0]


@dataclass(frozen=True, slots=True, eq=False)
class PlainForm:
    """What the plain columns of a schema look like. Get one from `of`.

    Parameters
    ----------
    schema
        ``device`` (string), ``time`` (``timestamp[us, UTC]``), and the channels.
    columns
        The same.
    messages
        How they are written to the log.
    """

    schema: pa.Schema
    columns: tuple[_Column, ...]
    messages: RowMessages

    @classmethod
    def of(cls, schema: pa.Schema, devices: TextCodes) -> Self | None:
        """Return the form of a schema; None if its messages cannot be told.

        Parameters
        ----------
        schema
            As above.
        devices
            The codes of devices.
        """
        messages = RowMessages.of(schema)
        if messages is None:
            return None
        texts = [
            devices,
            None,
            *(
                TextCodes(most=_MOST_TEXTS) if kind == pa.string() else None
                for kind in schema.types[2:]
            ),
        ]
        columns = tuple(
            _Column(one.name, one.type, _dtype(one.type), known)
            for one, known in zip(schema, texts, strict=True)
        )
        return cls(schema, columns, messages)

    def take(self, data: Mapping[str, Any]) -> tuple[PlainRows, bytes] | None:
        """Return rows, and their message for the log; None if `data` is not just that.

        Nothing here calls Arrow, which lets go of the interpreter each time.

        Parameters
        ----------
        data
            Columns by name.
        """
        time = data.get("time")
        rows = len(time) if type(time) is np.ndarray and time.ndim == 1 else 0
        if not rows or "device" not in data:
            return None
        held: list[bytes] = []
        buffers: list[bytes] = []
        missing: list[int] = []
        for column in self.columns:
            if column.name not in data:
                missing.append(rows)
                held.append(b"")
                buffers += column.nothing(rows)
                continue
            found = column.take(data[column.name], rows)
            if found is None:
                return None
            missing.append(0)
            held.append(found[0])
            buffers += found[1]
        if len(data) + sum(map(bool, missing)) != len(self.columns):
            return None
        message = self.messages.message(rows, missing, buffers)
        return PlainRows(self, rows, tuple(held)), message

    def table(self, parts: Sequence[PlainRows]) -> pa.Table:
        """Return the rows of some writes as a table of contiguous columns; texts as dictionaries.

        Parameters
        ----------
        parts
            All of this form.
        """
        sizes = [part.num_rows for part in parts]
        arrays = [
            column.joined([part.columns[at] for part in parts], sizes)
            for at, column in enumerate(self.columns)
        ]
        return pa.table(arrays, names=self.schema.names)


def _dtype(kind: pa.DataType) -> np.dtype[Any]:
    if kind == pa.string():
        return np.dtype(np.int32)
    return np.dtype("M8[us]") if kind == _TIME else np.dtype(kind.to_pandas_dtype())


def _texts(values: Any, rows: int) -> list[Any] | None:
    """Return a column of texts as a list of its own."""
    if type(values) is list:
        found = values.copy()
    elif type(values) is np.ndarray and values.ndim == 1 and values.dtype.kind in "OU":
        found = values.tolist()
    else:
        return None
    return found if len(found) == rows else None
