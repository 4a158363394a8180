"""What a dataset shows as plain files: CF Zarr that any xarray opens, and Parquet."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import compute
from dask.delayed import delayed
from numpy.typing import NDArray

from pipeline.archive.arrow_rows import read_arrow
from pipeline.errors import InvalidInputError
from pipeline.model import parquet_files
from pipeline.xarray_engine.ragged_index import RaggedIndex
from pipeline.xarray_engine.selected_rows import SelectedRows

__all__ = ["ROWS_PER_CHUNK", "write_parquet", "write_zarr"]

ROWS_PER_CHUNK: Final = 1 << 20
_MISSING: Final = "<missing>"


def write_zarr(
    dataset: xr.Dataset,
    store: Any,
    *,
    rows_per_chunk: int = ROWS_PER_CHUNK,
    encoding: Mapping[str, Mapping[str, Any]] | None = None,
    **options: Any,
) -> None:
    """Write a dataset as plain CF Zarr, chunk by chunk.

    Parameters
    ----------
    dataset
        Of any rows and layout; changed and added variables are written as they are.
    store
        Where to: a folder, URL or Zarr store.
    rows_per_chunk
        Rows of each chunk, all but the last: partitions differ in size, chunks of Zarr do not.
    encoding
        By variable, what Zarr is told: ``{"level": {"compressors": [...]}}``.
    **options
        Others of `xarray.Dataset.to_zarr`; metadata are not consolidated by default, as Zarr v3
        does not have that.

    Raises
    ------
    InvalidInputError
        If `rows_per_chunk` is no positive number.
    """
    if rows_per_chunk < 1:
        msg = f"rows_per_chunk={rows_per_chunk}: a chunk has at least one row"
        raise InvalidInputError(msg)
    indexed = [name for name, one in dataset.xindexes.items() if isinstance(one, RaggedIndex)]
    plain = dataset.drop_indexes(indexed)
    sizes = {name: size for name, size in dataset.sizes.items() if size}
    chunks = {name: min(rows_per_chunk, size) for name, size in sizes.items()}
    for name, variable in dict(plain.variables).items():
        kept = {key: one for key, one in variable.encoding.items() if key != "preferred_chunks"}
        variable = variable.copy(deep=False)
        variable.encoding = kept
        if variable.ndim and variable.size and not variable._in_memory:
            chunked = variable.chunk({dim: chunks[dim] for dim in variable.dims})
            plain[name] = _as_text(chunked) if variable.dtype.kind == "O" else chunked
        elif variable.dtype.kind == "O":
            plain[name] = _as_text(variable)
    options = {"consolidated": False, **options}
    plain.to_zarr(store, encoding=dict(encoding or {}), **options)


def write_parquet(
    selected: SelectedRows,
    path: str | os.PathLike[str],
    channels: list[str],
    compression: str = "zstd",
) -> int:
    """Write rows as a Parquet file, batch by batch, and return how many there are.

    Parameters
    ----------
    selected
        The rows.
    path
        The file, which is replaced once it is whole.
    channels
        Channels of it.
    compression
        As Parquet calls it.
    """
    reader = read_arrow(selected.view, selected.selection, channels)
    return parquet_files.write_parquet(reader, path, parquet_files.ROW_GROUP_SIZE, compression)


def _as_text(variable: xr.Variable) -> xr.Variable:
    """Return a variable of texts as Zarr holds them, with a mark where there is none.

    Zarr's texts have no fill value, and xarray would write the empty text.
    """
    values = variable._data
    if isinstance(values, da.Array):
        chunks: Any = values.to_delayed()  # type: ignore[no-untyped-call]
        found: Any = compute(*(delayed(_texts_of)(part) for part in chunks.ravel()))  # type: ignore[no-untyped-call]
        texts = set[str]().union(*found)
    else:
        texts = _texts_of(np.asarray(variable.values))
    mark = _MISSING
    while mark in texts:
        mark += "_"
    width = max(len(text) for text in {*texts, mark})
    dtype = np.dtype(f"U{width}")
    if isinstance(values, da.Array):
        data: Any = da.map_blocks(_marked, values, mark, dtype, dtype=dtype)  # type: ignore[no-untyped-call]
    else:
        data = _marked(np.asarray(variable.values), mark, dtype)
    attributes = {**variable.attrs, "missing_value": mark}
    return xr.Variable(variable.dims, data, attributes, variable.encoding)


def _texts_of(values: NDArray[Any]) -> set[str]:
    return {text for text in values.ravel().tolist() if isinstance(text, str)}


def _marked(values: NDArray[Any], mark: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    texts = [text if isinstance(text, str) else mark for text in values.ravel().tolist()]
    return np.array(texts, dtype).reshape(values.shape)
