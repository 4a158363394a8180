"""The standalone filters as numcodecs codecs, for Zarr v2 arrays and plain buffers.

=======================  ======================  ==========================================
id                       class                   byte layout
=======================  ======================  ==========================================
iot_archive.delta        `Delta`                 `pipeline.codecs.delta`
iot_archive.bitshuffle   `Bitshuffle`            `pipeline.codecs.bitshuffle`
iot_archive.varint       `Varint`                `pipeline.codecs.varint`
=======================  ======================  ==========================================

Ids, configurations and layouts are for ever. An array of several dimensions is flattened in
the order it lies in memory (C order unless it is Fortran-contiguous), as numcodecs does, and
decoding returns one dimension.

Good chains are delta, varint, then a compressor for timestamps and counters, and delta,
bitshuffle, then a compressor for measurements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numcodecs.abc import Codec
from numcodecs.compat import ensure_ndarray, ndarray_copy

from pipeline.codecs import bitshuffle, delta, varint
from pipeline.errors import ArchiveError, CorruptBlockError, InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Bitshuffle", "Delta", "Varint"]


@dataclass(frozen=True)
class Delta(Codec):  # type: ignore[misc]
    """Differences of neighbouring values, exact for every fixed-width type.

    Parameters
    ----------
    dtype : str or dtype
        Type of the values; kept as its string, byte order included, such as ``"<f8"``.
    order : {1, 2}
        1 for differences, 2 for differences of differences (steady timestamps become zeros).

    Raises
    ------
    InvalidInputError
        When the type or the order is not supported.

    Examples
    --------
    >>> Delta("i8").encode(np.array([1000, 1010, 1021]))
    array([1000,   10,   11])
    >>> Delta("i8", order=2).encode(np.array([1000, 1010, 1021]))
    array([1000,   10,    1])
    """

    codec_id: ClassVar[str] = "iot_archive.delta"

    dtype: str
    order: int = 1

    def __post_init__(self) -> None:
        try:
            dtype = np.dtype(self.dtype)
        except TypeError as error:
            msg = f"delta: {self.dtype!r} is not a NumPy type; give one such as '<f8'"
            raise InvalidInputError(msg) from error
        delta.encoded_dtype(dtype)
        delta.check_order(self.order)
        object.__setattr__(self, "dtype", dtype.str)

    def encode(self, buf: Any) -> NDArray[Any]:
        """Return the differences as signed integers of the same width, shape (n,).

        Parameters
        ----------
        buf : buffer-like
            Values of the codec's type, or their raw bytes.

        Raises
        ------
        InvalidInputError
            When `buf` holds elements of another width or no whole number of elements.
        """
        values = _viewed(_flat(buf), np.dtype(self.dtype), InvalidInputError)
        return delta.encode(values, self.order)

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Return the values, shape (n,), in `out` when it is given.

        Raises
        ------
        CorruptBlockError
            When `buf` cannot be what `encode` returned.
        InvalidInputError
            When `out` is not as long as the values.
        """
        dtype = np.dtype(self.dtype)
        differences = _viewed(_flat(buf), delta.encoded_dtype(dtype), CorruptBlockError)
        return _delivered(delta.decode(differences, dtype, self.order), out, self.codec_id)


@dataclass(frozen=True)
class Bitshuffle(Codec):  # type: ignore[misc]
    """Bits of equal weight side by side, so that a compressor finds the steady ones.

    Parameters
    ----------
    elementsize : int
        Bytes of an element.

    Raises
    ------
    InvalidInputError
        When `elementsize` is not a whole number from 1 up.

    Examples
    --------
    >>> Bitshuffle(1).encode(bytes([1, 1, 1, 1, 0, 0, 0, 0])).tolist()
    [15, 0, 0, 0, 0, 0, 0, 0]
    """

    codec_id: ClassVar[str] = "iot_archive.bitshuffle"

    elementsize: int

    def __post_init__(self) -> None:
        bitshuffle.check_elementsize(self.elementsize)

    def encode(self, buf: Any) -> NDArray[np.uint8]:
        """Return as many bytes as `buf` has, shape (n,).

        Parameters
        ----------
        buf : buffer-like
            Any type but objects; the length need not be a multiple of the element size.

        Raises
        ------
        InvalidInputError
            When `buf` holds Python objects.
        """
        return bitshuffle.encode(_flat(buf).view(np.uint8), self.elementsize)

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Return the original bytes, shape (n,), in `out` when it is given.

        Raises
        ------
        InvalidInputError
            When `out` is not as long as `buf`.
        """
        data = bitshuffle.decode(_flat(buf).view(np.uint8), self.elementsize)
        return _delivered(data, out, self.codec_id)


@dataclass(frozen=True)
class Varint(Codec):  # type: ignore[misc]
    """Integers in as many bytes as they need, seven bits to a byte.

    The stored bytes name their type and number, so the codec has no parameters.

    Examples
    --------
    >>> Varint().encode(np.array([0, -1, 64], "i4"))[10:].tolist()
    [0, 1, 128, 1]
    """

    codec_id: ClassVar[str] = "iot_archive.varint"

    def encode(self, buf: Any) -> NDArray[np.uint8]:
        """Return the stored form, shape (m,).

        Parameters
        ----------
        buf : buffer-like
            Booleans, integers, datetimes or timedeltas; raw bytes count as uint8.

        Raises
        ------
        InvalidInputError
            When `buf` is of another type.
        """
        return varint.encode(_flat(buf))

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Return the values, shape (n,), in `out` when it is given.

        The type is the one encoded, byte order included; datetimes come back as int64.

        Raises
        ------
        CorruptBlockError
            When `buf` is not what `encode` returned.
        InvalidInputError
            When `out` is not as long as the values.
        """
        return _delivered(varint.decode(_flat(buf).view(np.uint8)), out, self.codec_id)


def _flat(buf: Any) -> NDArray[Any]:
    """Return `buf` as a contiguous array of one dimension, copied only where it has gaps."""
    array: NDArray[Any] = ensure_ndarray(buf)
    if array.dtype.hasobject:
        msg = "filters take arrays of plain values, not of Python objects"
        raise InvalidInputError(msg)
    return np.ascontiguousarray(array.reshape(-1, order="A"))


def _viewed(flat: NDArray[Any], dtype: np.dtype[Any], error: type[ArchiveError]) -> NDArray[Any]:
    # Elements of another width would be cut or joined without notice: only values of the
    # codec's width pass, and raw bytes.
    if flat.dtype.itemsize not in (1, dtype.itemsize) or flat.nbytes % dtype.itemsize:
        msg = (
            f"{Delta.codec_id}: {flat.size} elements of {flat.dtype} are not a whole number "
            f"of values of {dtype}; give arrays of that width, or their bytes uncut"
        )
        raise error(msg)
    return flat.view(dtype)


def _delivered(decoded: NDArray[Any], out: Any, codec_id: str) -> Any:
    if out is None:
        return decoded
    wanted = ensure_ndarray(out).nbytes
    if wanted != decoded.nbytes:
        msg = f"{codec_id}: out has {wanted} bytes, the decoded values take {decoded.nbytes}"
        raise InvalidInputError(msg)
    return ndarray_copy(decoded.view(np.uint8), out)
