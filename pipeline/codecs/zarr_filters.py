"""The standalone filters as Zarr v3 codecs.

======================  ================  =====================  ==========================
name                    kind              configuration          byte layout
======================  ================  =====================  ==========================
iot_archive.delta       array to array    ``order`` (1 or 2)     `pipeline.codecs.delta`
iot_archive.bitshuffle  bytes to bytes    ``elementsize``        `pipeline.codecs.bitshuffle`
iot_archive.varint      array to bytes    none                   `pipeline.codecs.varint`
======================  ================  =====================  ==========================

Names, configurations and layouts are for ever. Chunks are taken in C order; put Zarr's
``transpose`` codec before ``iot_archive.delta`` to choose the axis along which it subtracts.
After ``iot_archive.delta`` a chunk is a chunk of signed integers, whatever the array's type, so
that ``iot_archive.varint`` may follow it for floats too.

>>> import zarr
>>> array = zarr.create_array(
...     {}, shape=(6,), chunks=(3,), dtype="float64",
...     filters=[DeltaCodec()], serializer=VarintCodec(), compressors=zarr.codecs.ZstdCodec(),
... )
>>> array[:] = [20.5, 20.5, 20.25, 20.0, 20.0, 20.0]
>>> array[2:5]
array([20.25, 20.  , 20.  ])
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from zarr.abc.codec import ArrayArrayCodec, ArrayBytesCodec, BytesBytesCodec
from zarr.core.common import parse_named_configuration
from zarr.dtype import parse_dtype

from pipeline.codecs import bitshuffle, delta, varint
from pipeline.errors import CorruptBlockError, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer
    from zarr.core.common import JSON

__all__ = ["BitshuffleCodec", "DeltaCodec", "VarintCodec"]


@dataclass(frozen=True)
class DeltaCodec(ArrayArrayCodec):
    """Differences of neighbouring values, as signed integers of the same width.

    Parameters
    ----------
    order : {1, 2}
        1 for differences, 2 for differences of differences (steady timestamps become zeros).

    Raises
    ------
    InvalidInputError
        When `order` is neither.
    """

    name: ClassVar[str] = "iot_archive.delta"
    is_fixed_size = True

    order: int = 1

    def __post_init__(self) -> None:
        delta.check_order(self.order)

    @classmethod
    def from_dict(cls, data: dict[str, JSON]) -> Self:
        """Read the codec's entry in an array's metadata."""
        return cls(**_configuration(data, cls.name))

    def to_dict(self) -> dict[str, JSON]:
        """Return the codec's entry for an array's metadata."""
        return {"name": self.name, "configuration": {"order": self.order}}

    def resolve_metadata(self, chunk_spec: ArraySpec) -> ArraySpec:
        """Tell the next codec that it sees signed integers.

        Raises
        ------
        InvalidInputError
            When the chunks are of a type that has no differences.
        """
        native = delta.encoded_dtype(chunk_spec.dtype.to_native_dtype()).newbyteorder("=")
        dtype = parse_dtype(native, zarr_format=3)
        # The differences of a chunk full of one value are that value and zeros, so there is
        # no fill value to translate; zero lets a shard leave out its constant inner chunks.
        return replace(chunk_spec, dtype=dtype, fill_value=dtype.cast_scalar(0))

    def compute_encoded_size(self, input_byte_length: int, _chunk_spec: ArraySpec) -> int:
        """Return `input_byte_length`: differences are as wide as their values."""
        return input_byte_length

    def _encode_sync(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> NDBuffer:
        values = chunk_array.as_numpy_array()
        differences = delta.encode(_in_c_order(values), self.order)
        native = differences.astype(differences.dtype.newbyteorder("="), copy=False)
        return _nd_buffer(native.reshape(values.shape), chunk_spec)

    def _decode_sync(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> NDBuffer:
        differences = chunk_array.as_numpy_array()
        dtype = chunk_spec.dtype.to_native_dtype()
        values = delta.decode(_in_c_order(differences), dtype, self.order)
        return _nd_buffer(values.reshape(chunk_spec.shape), chunk_spec)

    # Not worth a thread: half a megabyte takes 0.1 ms, about what the hand-over costs.
    async def _encode_single(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> NDBuffer:
        return self._encode_sync(chunk_array, chunk_spec)

    async def _decode_single(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> NDBuffer:
        return self._decode_sync(chunk_array, chunk_spec)


@dataclass(frozen=True)
class BitshuffleCodec(BytesBytesCodec):
    """Bits of equal weight side by side, so that a compressor finds the steady ones.

    Parameters
    ----------
    elementsize : int, optional
        Bytes of an element; that of the type of the array (as the codecs before leave it) when
        left out. The array's metadata holds the number in any case.

    Raises
    ------
    InvalidInputError
        When `elementsize` is not a whole number from 1 up.
    """

    name: ClassVar[str] = "iot_archive.bitshuffle"
    is_fixed_size = True

    elementsize: int | None = None

    def __post_init__(self) -> None:
        if self.elementsize is not None:
            bitshuffle.check_elementsize(self.elementsize)

    @classmethod
    def from_dict(cls, data: dict[str, JSON]) -> Self:
        """Read the codec's entry in an array's metadata."""
        return cls(**_configuration(data, cls.name))

    def to_dict(self) -> dict[str, JSON]:
        """Return the codec's entry for an array's metadata."""
        if self.elementsize is None:
            return {"name": self.name}
        return {"name": self.name, "configuration": {"elementsize": self.elementsize}}

    def evolve_from_array_spec(self, array_spec: ArraySpec) -> Self:
        """Take the element size from the type of the chunks, unless it was given."""
        return replace(self, elementsize=self._elementsize_in(array_spec))

    def compute_encoded_size(self, input_byte_length: int, _chunk_spec: ArraySpec) -> int:
        """Return `input_byte_length`: bits only change places."""
        return input_byte_length

    def _encode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        return self._rearranged(bitshuffle.encode, chunk_bytes, chunk_spec)

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        return self._rearranged(bitshuffle.decode, chunk_bytes, chunk_spec)

    async def _encode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        return await asyncio.to_thread(self._encode_sync, chunk_bytes, chunk_spec)

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        return await asyncio.to_thread(self._decode_sync, chunk_bytes, chunk_spec)

    def _rearranged(
        self,
        change: Callable[[NDArray[np.uint8], int], NDArray[np.uint8]],
        chunk_bytes: Buffer,
        chunk_spec: ArraySpec,
    ) -> Buffer:
        data = change(_raw(chunk_bytes), self._elementsize_in(chunk_spec))
        return _buffer(data, chunk_spec)

    def _elementsize_in(self, spec: ArraySpec) -> int:
        return self.elementsize or spec.dtype.to_native_dtype().itemsize


@dataclass(frozen=True)
class VarintCodec(ArrayBytesCodec):
    """Integers in as many bytes as they need, seven bits to a byte.

    Takes booleans, integers, datetimes and timedeltas, and anything after `DeltaCodec`.
    """

    name: ClassVar[str] = "iot_archive.varint"
    is_fixed_size = False

    @classmethod
    def from_dict(cls, data: dict[str, JSON]) -> Self:
        """Read the codec's entry in an array's metadata."""
        return cls(**_configuration(data, cls.name))

    def to_dict(self) -> dict[str, JSON]:
        """Return the codec's entry for an array's metadata."""
        return {"name": self.name}

    def resolve_metadata(self, chunk_spec: ArraySpec) -> ArraySpec:
        """Raise `InvalidInputError` when the codec would see anything but integers.

        Here and not in ``validate``, which is shown the array's own type even when a filter
        before this codec changes it.
        """
        varint.stored_dtype(chunk_spec.dtype.to_native_dtype())
        return chunk_spec

    def compute_encoded_size(self, _input_byte_length: int, _chunk_spec: ArraySpec) -> int:
        """Raise `InvalidInputError`: the size depends on the values."""
        msg = f"{self.name} has no fixed size; it cannot encode the index of a shard"
        raise InvalidInputError(msg)

    def _encode_sync(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        values = _in_c_order(chunk_array.as_numpy_array())
        # Little-endian in v3 always: the array's metadata says what byte order readers get.
        ordered = values.astype(values.dtype.newbyteorder("<"), copy=False)
        return _buffer(varint.encode(ordered), chunk_spec)

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        dtype = chunk_spec.dtype.to_native_dtype()
        stored = varint.stored_dtype(dtype)
        values = varint.decode(_raw(chunk_bytes))
        if values.dtype != stored.newbyteorder("<") or values.size != prod(chunk_spec.shape):
            msg = (
                f"{self.name}: the chunk holds {values.size} values of {values.dtype} where the "
                f"array expects {chunk_spec.shape} of {stored}; restore the chunk"
            )
            raise CorruptBlockError(msg)
        ordered = values.astype(stored, copy=False).view(dtype)
        return _nd_buffer(ordered.reshape(chunk_spec.shape), chunk_spec)

    async def _encode_single(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        return await asyncio.to_thread(self._encode_sync, chunk_array, chunk_spec)

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return await asyncio.to_thread(self._decode_sync, chunk_bytes, chunk_spec)


def _configuration(data: dict[str, JSON], name: str) -> dict[str, Any]:
    _, configuration = parse_named_configuration(data, name, require_configuration=False)
    return configuration or {}


def _in_c_order(chunk: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(chunk).reshape(-1)


def _raw(chunk_bytes: Buffer) -> NDArray[np.uint8]:
    return np.ascontiguousarray(chunk_bytes.as_numpy_array()).view(np.uint8)


def _buffer(data: NDArray[np.uint8], chunk_spec: ArraySpec) -> Buffer:
    return chunk_spec.prototype.buffer.from_array_like(data)


def _nd_buffer(values: NDArray[Any], chunk_spec: ArraySpec) -> NDBuffer:
    return chunk_spec.prototype.nd_buffer.from_numpy_array(values)
