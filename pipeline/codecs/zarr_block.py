"""Blocks as chunks of Zarr arrays.

>>> import numpy as np, zarr
>>> array = zarr.create_array(
...     {}, shape=(2, 1, 100), chunks=(1, 1, 50), dtype="float64", fill_value=np.nan,
...     serializer=BlockCodec(), compressors=None,
... )
>>> array[1, 0, :3] = [20.1, 20.2, 20.2]
>>> array[1, 0, 1:4]
array([20.2, 20.2,  nan])

A chunk has a fixed shape, a block only as many rows as are in use: the chunk is taken in C
order, and the trailing run of fill values is left out. Whatever wrote a block, its missing rows
read as the array's fill value.

The codec is found by its name through the entry point group ``zarr.codecs``, so that plain
Zarr reads such arrays wherever this package is installed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from zarr.abc.codec import ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin
from zarr.core.common import parse_named_configuration

from pipeline.codecs.block import decode_block, encode_block, read_header
from pipeline.codecs.frame import DTYPE_CODES, MAX_ROWS
from pipeline.errors import CorruptBlockError, InvalidInputError

if TYPE_CHECKING:
    from zarr.abc.store import ByteGetter, SyncByteGetter
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer
    from zarr.core.common import JSON
    from zarr.core.dtype.wrapper import TBaseDType, TBaseScalar, ZDType
    from zarr.core.indexing import SelectorTuple
    from zarr.core.metadata.v3 import ChunkGridMetadata

__all__ = ["BlockCodec"]

_NAME: Final = "iot_archive.block"


@dataclass(frozen=True)
class BlockCodec(ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin):
    """Zarr serializer that stores each chunk as one block; it has no configuration."""

    is_fixed_size = False

    @classmethod
    def from_dict(cls, data: dict[str, JSON]) -> Self:
        """Make the codec from its entry in ``zarr.json``."""
        parse_named_configuration(data, _NAME, require_configuration=False)
        return cls()

    def to_dict(self) -> dict[str, JSON]:
        """Return the codec's entry for ``zarr.json``."""
        return {"name": _NAME}

    def validate(
        self,
        *,
        shape: tuple[int, ...],  # noqa: ARG002
        dtype: ZDType[TBaseDType, TBaseScalar],
        chunk_grid: ChunkGridMetadata,
    ) -> None:
        """Refuse arrays that blocks cannot hold.

        Raises
        ------
        InvalidInputError
            If the dtype is none that a block stores, or a chunk has too many elements.
        """
        native = dtype.to_native_dtype()
        if native.newbyteorder("=") not in DTYPE_CODES:
            names = ", ".join(str(known) for known in DTYPE_CODES)
            raise InvalidInputError(
                f"{_NAME} stores {names}, not {native}; choose another serializer"
            )
        if math.prod(getattr(chunk_grid, "chunk_shape", ())) > MAX_ROWS:
            raise InvalidInputError(
                f"{_NAME} stores chunks of up to {MAX_ROWS} elements; choose smaller ones"
            )

    def compute_encoded_size(self, input_byte_length: int, _chunk_spec: ArraySpec) -> int:
        """Blocks have no fixed size, so nobody can know.

        Raises
        ------
        InvalidInputError
            Always.
        """
        raise InvalidInputError(
            f"the size of a block of {input_byte_length} bytes depends on the values; encode it"
        )

    def _encode_sync(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        rows = chunk_array.as_numpy_array().reshape(-1)
        fill = np.asarray(chunk_spec.fill_value, rows.dtype)
        data = encode_block(rows[: _used(rows, fill)])
        return chunk_spec.prototype.buffer.from_bytes(data)

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return _decode(chunk_bytes, chunk_spec, "")

    def _decode_partial_sync(
        self, byte_getter: SyncByteGetter, selection: SelectorTuple, chunk_spec: ArraySpec
    ) -> NDBuffer | None:
        data = byte_getter.get_sync(prototype=chunk_spec.prototype)
        return None if data is None else _select(data, chunk_spec, str(byte_getter), selection)

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        return self._encode_sync(chunk_data, chunk_spec)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return self._decode_sync(chunk_data, chunk_spec)

    async def _decode_partial_single(
        self, byte_getter: ByteGetter, selection: SelectorTuple, chunk_spec: ArraySpec
    ) -> NDBuffer | None:
        data = await byte_getter.get(prototype=chunk_spec.prototype)
        return None if data is None else _select(data, chunk_spec, str(byte_getter), selection)


def _select(
    chunk_bytes: Buffer, chunk_spec: ArraySpec, where: str, selection: SelectorTuple
) -> NDBuffer:
    """Decode a block, where one range of rows is selected only that range, and select from it."""
    found = _range(selection, chunk_spec.shape)
    held = read_header(chunk_bytes.as_numpy_array(), where=where).rows
    if found is None or held > math.prod(chunk_spec.shape):
        return _decode(chunk_bytes, chunk_spec, where)[selection]
    rows, rest = found
    part = replace(chunk_spec, shape=(*chunk_spec.shape[:-1], rows[1] - rows[0]))
    return _decode(chunk_bytes, part, where, rows)[rest]


def _range(
    selection: SelectorTuple, shape: tuple[int, ...]
) -> tuple[tuple[int, int], SelectorTuple] | None:
    """Return the rows between the first and the last selected, and what to select of them.

    None if a chunk has several rows of rows, or they are not selected by a slice.
    """
    wanted = selection if isinstance(selection, tuple) else (selection,)
    if math.prod(shape[:-1]) != 1 or len(wanted) != len(shape):
        return None
    last = wanted[-1]
    if not isinstance(last, slice):
        return None
    start, stop, step = last.indices(shape[-1])
    if step < 1 or start >= stop:
        return None
    return (start, stop), (*wanted[:-1], slice(0, stop - start, step))


def _decode(
    chunk_bytes: Buffer,
    chunk_spec: ArraySpec,
    where: str,
    rows: tuple[int, int] | None = None,
) -> NDBuffer:
    """Decode a block, or some of its rows, and pad them to a shape; `where` names it in errors."""
    dtype = chunk_spec.dtype.to_native_dtype()
    block = decode_block(chunk_bytes.as_numpy_array(), where=where, rows=rows)
    size = math.prod(chunk_spec.shape)
    if block.values.dtype != dtype.newbyteorder("=") or block.values.size > size:
        raise CorruptBlockError(
            f"chunk {where or 'of unknown origin'} of {size} {dtype} holds a block of "
            f"{block.values.size} {block.values.dtype}; restore it, or read the array with the "
            "metadata that it was written with"
        )
    out = block.values.astype(dtype, copy=False)
    if out.size < size or block.valid is not None:
        out = np.full(size, chunk_spec.fill_value, dtype)
        used = True if block.valid is None else block.valid
        np.copyto(out[: block.values.size], block.values, where=used)
    return chunk_spec.prototype.nd_buffer.from_ndarray_like(out.reshape(chunk_spec.shape))


def _used(rows: NDArray[Any], fill: NDArray[Any]) -> int:
    """Return how many rows are left without the trailing run of rows bit-equal to `fill`."""
    bits = rows.view(f"u{rows.dtype.itemsize}")
    other = np.flatnonzero(bits != fill.view(bits.dtype))
    return int(other[-1]) + 1 if other.size else 0
