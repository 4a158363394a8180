"""Blocks of one version of the schema written as another: what a migration is made of.

Only arrays that differ between the two versions are read, converted and encoded; the chunks of all
others stay where they are. A block keeps its place, its rows and its sequence, so that nothing else
of the fleet has to know of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from zarr.abc.store import Store

from pipeline.archive.block_index import BlockTable, IndexEntry
from pipeline.archive.block_reader import fetch_blocks
from pipeline.archive.changes import mark_rewritten
from pipeline.archive.chunk_io import chunk_key, delete_many, get_many, get_sizes, put_many
from pipeline.archive.device_registry import DeviceRegistry
from pipeline.archive.fleet_meta import FleetMeta, load_fleet
from pipeline.archive.fleet_state import FleetState, StalePlanError
from pipeline.archive.fleet_view import KEY_COLUMNS, FleetView
from pipeline.archive.index_writer import IndexWriter
from pipeline.archive.preparing import Memories, PeriodStatistics, summarise
from pipeline.archive.rewriting import cells_of, recomputed, sole_cells
from pipeline.archive.summary_tables import Cells, SummaryWriter
from pipeline.codecs.block import Memory, encode_block
from pipeline.model.batches import Column
from pipeline.model.dtypes import storage_dtype

__all__ = ["Move", "commit_moves", "move_back", "move_block"]


@dataclass(frozen=True, slots=True, eq=False)
class Move:
    """A block, and what makes it one of another version.

    Parameters
    ----------
    block
        Its index entry as it is.
    version
        The version it is to have.
    size
        Encoded bytes that it will have.
    payload
        By array, the chunks to write.
    gone
        Arrays whose chunks are to be deleted.
    statistics
        Of its rows in the arrays that are written; None to compute them from all rows.
    """

    block: BlockTable
    version: int
    size: int
    payload: Mapping[str, bytes]
    gone: tuple[str, ...]
    statistics: PeriodStatistics | None = None

    @property
    def partition(self) -> tuple[int, int]:
        """Window and device block."""
        return int(self.block.window[0]), int(self.block.device_block[0])

    @property
    def entry(self) -> IndexEntry:
        """The new index entry."""
        fields = self.block.fields[:, 0].tolist()
        entry = IndexEntry(*self.partition, *fields)
        return replace(entry, schema_version=self.version, bytes=self.size)


def move_block(view: FleetView, block: BlockTable, memories: Memories | None = None) -> Move:
    """Convert one block to the version of the schema that the view shows.

    Parameters
    ----------
    view
        The fleet at a snapshot, in the version that is wanted.
    block
        One index entry, of another version.
    memories
        What earlier blocks tell about encoding this one.

    Raises
    ------
    CorruptBlockError
        If the block is damaged.
    SchemaError
        If a value does not fit.
    """
    meta, old = view.meta, int(block.schema_version[0])
    reading, number = meta.reading, meta.schema.version
    before, after = (set(meta.history[one].arrays.values()) for one in (old, number))
    changed = [
        channel
        for channel in meta.schema
        if reading is not None and not reading.of(channel.name, old).is_plain
    ]
    names = [channel.name for channel in changed]
    wanted: list[tuple[str, np.dtype[Any]]] = [
        (KEY_COLUMNS[0], np.dtype(np.int32)),
        (KEY_COLUMNS[1], np.dtype(np.int64)),
        *((channel.name, storage_dtype(channel.dtype)) for channel in changed),
    ]
    codes, time, *columns = fetch_blocks(view.store, meta.layout, block, wanted, reading).decode(0)
    arrays = meta.history[number].arrays
    stored = {arrays[name]: column for name, column in zip(names, columns, strict=True)}
    known: Memories = {} if memories is None else memories
    payload = {
        arrays[channel.name]: _encoded(
            stored[arrays[channel.name]],
            channel.codec,
            known.setdefault((arrays[channel.name], number), Memory()),
        )
        for channel in changed
    }
    gone = tuple(sorted(before - after))
    statistics = summarise(meta.scheme.summary_length, codes.values, time.values, stored)
    lost = sum(get_sizes(view.store, _keys(meta, block, gone)))
    size = int(block.bytes[0]) - lost + sum(map(len, payload.values()))
    return Move(block, number, size, payload, gone, statistics)


def _encoded(column: Column, codec: str, memory: Memory) -> bytes:
    valid = None if column.valid is None or column.valid.all() else column.valid
    return encode_block(column.values, valid, codec=codec, memory=memory)


def move_back(before: FleetView, now: FleetView, block: BlockTable) -> Move | None:
    """Return what makes a block what it was at a snapshot; None if there it was another one.

    Parameters
    ----------
    before, now
        The fleet at the snapshot, and newest.
    block
        One index entry of `before`.
    """
    window, device_block, slot = block.places[0].tolist()
    entry = now.meta.layout.index
    _, windows, blocks, depth = entry.chunk
    at = (0, window // windows, device_block // blocks, slot // depth)
    chunk = entry.load(now.store, [at])[at]
    fields = chunk[:, window % windows, device_block % blocks, slot % depth]
    current = BlockTable(block.places, fields.reshape(-1, 1).copy())
    same = all(
        int(getattr(current, name)[0]) == int(getattr(block, name)[0])
        for name in ("rows", "sequence", "time_min", "time_max", "device_min", "device_max")
    )
    old, new = int(block.schema_version[0]), int(current.schema_version[0])
    if not same or old == new:
        return None
    history = now.meta.history
    was, has = (set(history[one].arrays.values()) for one in (old, new))
    back = sorted(was - has)
    chunks = get_many(before.store, _keys(before.meta, block, back))
    payload = {
        name: data.tobytes() for name, data in zip(back, chunks, strict=True) if data is not None
    }
    return Move(current, old, int(block.bytes[0]), payload, tuple(sorted(has - was)))


def commit_moves(
    store: Store, meta: FleetMeta, registry: DeviceRegistry, moves: Sequence[Move]
) -> None:
    """Make blocks what moves say, in a transaction's store.

    Raises
    ------
    StalePlanError
        If a block is not as it was, or the fleet is defined otherwise; nothing was written, plan
        again.
    """
    layout = meta.layout
    current = load_fleet(store, meta.name)
    if (current.layout, current.history) != (layout, meta.history):
        msg = f"fleet {meta.name!r}: its schema or partitioning was changed by another writer; plan again"
        raise StalePlanError(msg)
    ordered = sorted(moves, key=lambda move: move.block.places[0].tolist())
    blocks = BlockTable.concat([move.block for move in ordered])
    index = IndexWriter(store, layout)
    index.preload(move.partition for move in ordered)
    if not index.holds(blocks):
        msg = f"fleet {meta.name!r}: a block to be converted was changed by another writer; plan again"
        raise StalePlanError(msg)
    index.remove(blocks)
    index.add([move.entry for move in ordered], blocks)
    state = FleetState.load(store, layout)
    index.save(state.devices)
    delete_many(store, [key for move in ordered for key in _keys(meta, move.block, move.gone)])
    put_many(
        store,
        {
            key: data
            for move in ordered
            for key, data in zip(
                _keys(meta, move.block, tuple(move.payload)), move.payload.values(), strict=True
            )
        },
    )
    if layout.tracked and not all(move.version == meta.history.newest for move in ordered):
        mark_rewritten(store, layout, (move.partition[0] for move in ordered))
    _summarise(FleetView(store, "", current, registry, state), ordered)


def _summarise(view: FleetView, moves: Sequence[Move]) -> None:
    """Bring statistics up to date: by what moves tell of cells that are theirs alone, else by rows."""
    layout = view.meta.layout
    writer = SummaryWriter(view.store, layout, view.meta.stored_channels)
    alone: list[tuple[PeriodStatistics, Move]] = []
    shared: list[Cells] = []
    for run in _runs(moves):
        blocks = BlockTable.concat([move.block for move in run])
        found = [move.statistics for move in run if move.statistics is not None]
        if not found:
            shared.append(cells_of(view.store, layout, blocks))
            continue
        every = PeriodStatistics.concat(found)
        mine = sole_cells(view, every, blocks)
        alone.append((mine, run[0]))
        others = ~Cells(mine.device, mine.period).contains(every.device, every.period)
        shared.append(Cells(every.device[others], every.period[others]))
    touched = {name for move in moves for name in (*move.payload, *move.gone)}
    writer.preload([update for update, _ in alone], touched)
    for update, move in alone:
        writer.move(update, move.gone)
    again = Cells.union(shared)
    if len(again):
        writer.preload([again])
        writer.clear(again)
        for update in recomputed(view.stored(), again):
            writer.replace(update)
    writer.save()


def _runs(moves: Sequence[Move]) -> Iterator[list[Move]]:
    """Yield moves together whose blocks were cut from rows in order, so that their statistics join.

    A device that was cut in two belongs to such a run alone, and no row has to be read for it.
    """
    run: list[Move] = []
    for move in moves:
        if run and not _goes_on(run[-1], move):
            yield run
            run = []
        run.append(move)
    if run:
        yield run


def _goes_on(one: Move, two: Move) -> bool:
    joined = BlockTable.concat([one.block, two.block])
    same = ("sequence", "schema_version")
    return (
        one.partition == two.partition
        and (one.statistics is None) == (two.statistics is None)
        and all(getattr(joined, name)[0] == getattr(joined, name)[1] for name in same)
        and joined.in_order
    )


def _keys(meta: FleetMeta, block: BlockTable, arrays: Sequence[str]) -> list[str]:
    place = block.places[0].tolist()
    return [chunk_key(meta.layout.raw_path(name), place) for name in arrays]
