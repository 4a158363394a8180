"""The two sides whose speeds are compared: the block codec, and pcodec.

pcodec has no notion of a missing row: it is given the values that are there, and the rows that
have one are kept as a bitmap under zstd, which counts in its sizes and its times.

References
----------
https://github.com/pcodec/pcodec
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, Final

import numpy as np
from numcodecs.zstd import compress as zstd_compress
from numcodecs.zstd import decompress as zstd_decompress
from numpy.typing import NDArray

from pipeline.codecs import block as codec
from pipeline.errors import MissingDependencyError
from tests.benchmarks.codec_columns import Block

__all__ = ["OURS", "PCODEC8", "PCODEC12", "Side", "bitmap_bytes", "needed", "stages_text"]

_BITMAP_LEVEL: Final = 9


@dataclass(frozen=True, slots=True)
class Side:
    """A codec under comparison.

    Parameters
    ----------
    name
        For people and as the key of its figures.
    encode
        Turns a block into whatever the side keeps of it.
    decode
        Turns that into the block again.
    size
        Bytes of what it keeps.
    column_encoder
        Makes an encoder for the blocks of one column, which may remember what suited the last
        one; by default `encode`, which knows nothing of other blocks.
    """

    name: str
    encode: Callable[[Block], Any]
    decode: Callable[[Any], Block]
    size: Callable[[Any], int]
    column_encoder: Callable[[], Callable[[Block], Any]] | None = None

    def for_column(self) -> Callable[[Block], Any]:
        """Return an encoder for the blocks of one column."""
        return self.encode if self.column_encoder is None else self.column_encoder()


@dataclass(frozen=True, slots=True)
class _Packed:
    """What is kept of a block by a codec of plain arrays: its bytes, and the bitmap's."""

    data: bytes
    bitmap: bytes
    rows: int
    dtype: np.dtype[Any]


def needed(module: str) -> Any:
    """Import a library that only the benchmarks need.

    Raises
    ------
    MissingDependencyError
        If it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        msg = f"the codecs benchmark needs {package}; install the extra 'bench' (uv run --extra bench)"
        raise MissingDependencyError(msg) from error


def bitmap_bytes(block: Block) -> bytes:
    """Return which rows of a block have a value, as bits under zstd; nothing if all have."""
    if block.valid is None:
        return b""
    packed: bytes = zstd_compress(np.packbits(block.valid), _BITMAP_LEVEL)
    return packed


def stages_text(data: bytes) -> str:
    """Return in short how the block codec stores a block, such as ``predictor delta, width 8``."""
    stages = codec.describe(data)["stages"]
    return ", ".join(f"{key} {value}" for key, value in stages.items())


def _encode_ours(block: Block) -> bytes:
    return codec.encode_block(block.values, block.valid)


def _ours_for_column() -> Callable[[Block], bytes]:
    """Return an encoder with a memory, as the archive keeps one for each column it writes."""
    memory = codec.Memory()
    return lambda block: codec.encode_block(block.values, block.valid, memory=memory)


def _decode_ours(data: bytes) -> Block:
    decoded = codec.decode_block(data)
    return Block(decoded.values, decoded.valid)


def _encode_pcodec(block: Block, level: int) -> _Packed:
    pcodec = needed("pcodec")
    config = pcodec.ChunkConfig(compression_level=level, enable_8_bit=True)
    values = block.present
    numbers = values.view(np.uint8) if values.dtype == np.bool_ else values
    data = needed("pcodec.standalone").simple_compress(numbers, config) if len(values) else b""
    return _Packed(data, bitmap_bytes(block), len(block.values), values.dtype)


def _decode_pcodec(packed: _Packed) -> Block:
    present = np.zeros(0, packed.dtype)
    if packed.data:
        present = needed("pcodec.standalone").simple_decompress(packed.data).view(packed.dtype)
    if not packed.bitmap:
        return Block(present)
    valid = _unpacked(packed)
    values = np.zeros(packed.rows, packed.dtype)
    values[valid] = present
    return Block(values, valid)


def _unpacked(packed: _Packed) -> NDArray[np.bool_]:
    bits = np.frombuffer(zstd_decompress(packed.bitmap), np.uint8)
    return np.unpackbits(bits, count=packed.rows).view(np.bool_)


def _packed_size(packed: _Packed) -> int:
    return len(packed.data) + len(packed.bitmap)


OURS: Final = Side("ours", _encode_ours, _decode_ours, len, _ours_for_column)
PCODEC8: Final = Side("pcodec8", partial(_encode_pcodec, level=8), _decode_pcodec, _packed_size)
PCODEC12: Final = Side("pcodec12", partial(_encode_pcodec, level=12), _decode_pcodec, _packed_size)
