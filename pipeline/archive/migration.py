"""Migration of a fleet to one version of its schema: plan, convert, commit, until nothing is left.

Nothing of this is remembered anywhere: the block index tells which version every block has. So it
can be stopped at any moment, goes on where it stopped, and a second run finds nothing to do. What
writers add meanwhile is neither touched nor lost.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from pipeline.archive.block_index import BlockTable
from pipeline.archive.chunk_io import ahead
from pipeline.archive.fleet_meta import load_fleet
from pipeline.archive.fleet_state import StalePlanError
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.moving import Move, commit_moves, move_back, move_block
from pipeline.archive.preparing import Memories
from pipeline.errors import ArchiveError, ConflictError, InvalidInputError, SchemaError
from pipeline.model.dtypes import storage_dtype
from pipeline.partitioning.pruning import Selection

__all__ = [
    "MigrationOptions",
    "MigrationResult",
    "compare_blocks",
    "estimate",
    "migrate",
    "roll_back",
]

_ROUNDS = 12
_KEY_BYTES = 12  # of a row: device index and time
_SAMPLES = 4

CarryOut = Callable[[FleetView, Sequence[BlockTable]], Iterator[Move]]
"""Converts blocks, in order, each as soon as it is asked for."""


@dataclass(frozen=True, slots=True)
class MigrationOptions:
    """How a migration goes about it.

    Parameters
    ----------
    target
        Number of the version to migrate to; None for the newest.
    partitions, rows
        A commit is made after so many partitions, or when so many rows are converted. All blocks
        of a partition are in one commit.
    bytes_per_second
        Most raw bytes converted in a second, on average; None for as many as go.
    verify
        Whether every block is read once more, before and after, and compared.
    """

    target: int | None = None
    partitions: int = 64
    rows: int = 1 << 23
    bytes_per_second: float | None = None
    verify: bool = False


@dataclass(frozen=True, slots=True)
class MigrationResult:
    """What a migration did, or would do.

    Parameters
    ----------
    before
        Id of the snapshot before it: `roll_back` goes back to it.
    snapshot
        Id of the snapshot of its last commit; empty if there was none.
    target
        The version.
    partitions, blocks, rows
        Converted.
    raw_bytes
        Of these rows, as they are in memory: device, time and the channels of the version.
    bytes_before, bytes_after
        Encoded bytes of these blocks.
    commits, retries
        Commits, and those given up because another writer had changed a block.
    verified
        Blocks that were read before and after, and found to be equal.
    seconds
        What it took; of an estimate, what it would take on one core.
    """

    before: str = ""
    snapshot: str = ""
    target: int = 0
    partitions: int = 0
    blocks: int = 0
    rows: int = 0
    raw_bytes: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    commits: int = 0
    retries: int = 0
    verified: int = 0
    seconds: float = 0.0


def migrate(
    store: FleetStore,
    options: MigrationOptions | None = None,
    *,
    selection: Selection | None = None,
    carry_out: CarryOut | None = None,
    told: Callable[[MigrationResult], None] = lambda _: None,
) -> MigrationResult:
    """Convert the blocks of a fleet that are of another version.

    Parameters
    ----------
    store
        The fleet.
    options
        How.
    selection
        Windows that touch its time range are looked at; all by default.
    carry_out
        What converts blocks; by default the cores of this machine.
    told
        Called with what is done so far, after every commit.

    Raises
    ------
    NotFoundError
        If there is no such version.
    SchemaError
        If a value does not fit the version, or a block is not what it was when it is read again;
        what was committed stays.
    CorruptBlockError
        If a block is damaged; what was committed stays.
    ConflictError
        If other writers changed the same blocks again and again.
    """
    run = _Run(store, options or MigrationOptions(), carry_out or _on_all_cores(), told)
    return run.carry_through(selection or Selection())


def estimate(
    store: FleetStore, options: MigrationOptions | None = None, selection: Selection | None = None
) -> MigrationResult:
    """Return what a migration would do, and about how long, from some of its blocks; changes nothing."""
    options = options or MigrationOptions()
    view = store.view().at_version(options.target)
    blocks = _left(view, selection or Selection())
    width, sizes = _row_bytes(view), 0
    chosen = np.unique(np.linspace(0, max(len(blocks) - 1, 0), _SAMPLES).astype(int))
    began, rows, seen = time.perf_counter(), 0, 0
    for at in chosen.tolist() if len(blocks) else ():
        move = move_block(view, blocks.take(np.array([at])))
        rows, sizes, seen = rows + move.entry.rows, sizes + move.size, seen + 1
    seconds = time.perf_counter() - began
    every = int(blocks.rows.sum())
    share = every / rows if rows else 0.0
    partitions = np.unique(blocks.places[:, :2], axis=0)
    return MigrationResult(
        before=view.snapshot,
        target=view.meta.schema.version,
        partitions=len(partitions),
        blocks=len(blocks),
        rows=every,
        raw_bytes=every * width,
        bytes_before=int(blocks.bytes.sum()),
        bytes_after=int(sizes * share),
        seconds=seconds * share,
    )


def roll_back(
    store: FleetStore, snapshot: str, selection: Selection | None = None
) -> MigrationResult:
    """Make blocks that were converted since a snapshot what they were then, to the last bit.

    Rows that were added since stay, and so do blocks that were merged or deleted in the meantime.

    Raises
    ------
    NotFoundError
        If the snapshot was expired.
    InvalidInputError
        If the fleet was partitioned anew since.
    ConflictError
        If other writers changed the same blocks again and again.
    """
    before = FleetStore(store.repository, store.name).view(snapshot)
    blocks = before.blocks(selection or Selection())
    result, options = MigrationResult(before=snapshot), MigrationOptions()
    for _ in range(_ROUNDS):
        now = store.view()
        if now.meta.layout != before.meta.layout:
            msg = f"fleet {store.name!r} was partitioned anew since {snapshot}; its blocks are others now"
            raise InvalidInputError(msg)
        found = (move_back(before, now, blocks.take(np.array([at]))) for at in range(len(blocks)))
        moves = [move for move in found if move is not None]
        if not moves:
            return result
        for group in _groups(moves, Counter(move.partition for move in moves), options):
            result = _committed(store, now, group, result, "roll back")
    msg = f"fleet {store.name!r}: other writers changed the blocks {_ROUNDS} times; roll back again later"
    raise ConflictError(msg)


def compare_blocks(before: FleetView, after: FleetView, blocks: BlockTable) -> int:
    """Read blocks as one version, before and after they were converted, and return how many.

    Parameters
    ----------
    before, after
        The fleet at both snapshots, in the version migrated to.
    blocks
        Index entries of `before`, whose places did not change.

    Raises
    ------
    SchemaError
        If a row differs.
    """
    names = before.meta.schema.names
    for at in range(len(blocks)):
        old = blocks.take(np.array([at]))
        new = BlockTable(old.places, old.fields.copy())
        new.schema_version[:] = after.meta.schema.version
        for name in names:
            wanted = [(name, storage_dtype(before.meta.schema[name].dtype))]
            one, two = (view.column(block, wanted) for view, block in ((before, old), (after, new)))
            some = [np.ones(len(c), np.bool_) if c.valid is None else c.valid for c in (one, two)]
            bits = f"u{one.values.dtype.itemsize}"
            same = (one.values.view(bits) == two.values.view(bits)) | ~some[0]
            if not np.array_equal(some[0], some[1]) or not same.all():
                place = tuple(old.places[0].tolist())
                msg = f"channel {name!r} of the block {place} is not what it was; roll_back the migration"
                raise SchemaError(msg)
    return len(blocks)


@dataclass(slots=True, eq=False)
class _Run:
    store: FleetStore
    options: MigrationOptions
    carry_out: CarryOut
    told: Callable[[MigrationResult], None]
    result: MigrationResult = field(default_factory=MigrationResult)

    def carry_through(self, selection: Selection) -> MigrationResult:
        began = time.perf_counter()
        first = self.store.view().at_version(self.options.target)
        target = first.meta.schema.version
        self.result = replace(self.result, before=first.snapshot, target=target)
        for _ in range(_ROUNDS):
            view = self._with_texts(self.store.view().at_version(target))
            blocks = _left(view, selection)
            if not len(blocks):
                return replace(self.result, seconds=time.perf_counter() - began)
            each = [blocks.take(np.array([at])) for at in range(len(blocks))]
            counts = Counter(map(_partition, each))
            for group in _groups(self.carry_out(view, each), counts, self.options):
                self._commit(view, group, began)
        msg = (
            f"fleet {self.store.name!r}: other writers changed the blocks to be converted {_ROUNDS} "
            "times; what was converted stays, migrate again later"
        )
        raise ConflictError(msg)

    def _commit(self, view: FleetView, group: Sequence[Move], began: float) -> None:
        commits = self.result.commits
        self.result = _committed(self.store, view, group, self.result, "migrate")
        if self.result.commits == commits:
            return
        rows = sum(move.entry.rows for move in group)
        raw = self.result.raw_bytes + rows * _row_bytes(view)
        self.result = replace(self.result, raw_bytes=raw, seconds=time.perf_counter() - began)
        if self.options.verify:
            after = self.store.view(self.result.snapshot).at_version(self.result.target)
            blocks = BlockTable.concat([move.block for move in group])
            done = compare_blocks(view, after, blocks)
            self.result = replace(self.result, verified=self.result.verified + done)
        self.told(self.result)
        if self.options.bytes_per_second:
            due = began + raw / self.options.bytes_per_second
            time.sleep(max(0.0, due - time.perf_counter()))

    def _with_texts(self, view: FleetView) -> FleetView:
        """Return a view in which all texts that categories become have codes of their own."""
        missing = _missing_texts(view)
        if not missing:
            return view

        def change(into: Any) -> None:
            meta = load_fleet(into, self.store.name)
            texts = dict(meta.categories)
            for array, wanted in missing.items():
                texts[array] = tuple(dict.fromkeys([*texts.get(array, ()), *wanted]))
            replace(meta, categories=texts).save_categories(into)

        metadata = {"fleet": self.store.name, "kind": "migrate", "texts": len(missing)}
        self.store.repository.commit(change, f"texts of {self.store.name}", lambda _: metadata)
        return self._with_texts(self.store.view().at_version(view.meta.schema.version))


def _missing_texts(view: FleetView) -> dict[str, tuple[str, ...]]:
    """Return by array the texts that other versions' texts become, and that have no code in it yet."""
    arrays = view.meta.history[view.meta.schema.version].arrays
    found = {}
    for channel in view.meta.schema:
        if channel.dtype == "category":
            array = arrays[channel.name]
            known, wanted = view.meta.categories.get(array, ()), view.meta.texts(channel.name)
            if tuple(known) != wanted:
                found[array] = wanted
    return found


def _left(view: FleetView, selection: Selection) -> BlockTable:
    blocks = view.blocks(selection)
    return blocks.take(blocks.schema_version != view.meta.schema.version)


def _groups(
    moves: Iterable[Move], counts: Mapping[tuple[int, int], int], options: MigrationOptions
) -> Iterator[list[Move]]:
    """Yield moves in groups for one commit each; all of a partition, so many, are in one.

    Partitions that are complete are yielded even if a later one fails.
    """
    group: list[Move] = []
    partition: list[Move] = []
    partitions = 0
    left = iter(moves)
    while True:
        try:
            move = next(left, None)
        except ArchiveError:
            if group:
                yield group
            raise
        if move is None:
            break
        partition.append(move)
        if len(partition) < counts[move.partition]:
            continue
        group, partition, partitions = group + partition, [], partitions + 1
        rows = sum(one.entry.rows for one in group)
        if partitions >= options.partitions or rows >= options.rows:
            yield group
            group, partitions = [], 0
    if group:
        yield group


def _committed(
    store: FleetStore, view: FleetView, group: Sequence[Move], result: MigrationResult, kind: str
) -> MigrationResult:
    counts = {
        "partitions": len({move.partition for move in group}),
        "blocks": len(group),
        "rows": sum(move.entry.rows for move in group),
        "bytes_before": sum(int(move.block.bytes[0]) for move in group),
        "bytes_after": sum(move.size for move in group),
    }
    change = partial(commit_moves, meta=view.meta, registry=view.registry, moves=group)
    metadata = {"fleet": store.name, "kind": kind.replace(" ", "_"), **counts}
    try:
        snapshot, _ = store.repository.commit(change, f"{kind} {store.name}", lambda _: metadata)
    except StalePlanError:
        return replace(result, retries=result.retries + 1)
    known = asdict(result)
    summed = {name: known[name] + value for name, value in counts.items()}
    return replace(result, snapshot=snapshot, commits=result.commits + 1, **summed)


def _partition(block: BlockTable) -> tuple[int, int]:
    return int(block.window[0]), int(block.device_block[0])


def _row_bytes(view: FleetView) -> int:
    return _KEY_BYTES + sum(storage_dtype(one.dtype).itemsize for one in view.meta.schema)


def _on_all_cores() -> CarryOut:
    memories: Memories = {}
    return lambda view, blocks: ahead(lambda block: move_block(view, block, memories), blocks)
