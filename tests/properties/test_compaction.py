"""Appends, late rows, compaction and reopening in any order: answers equal a plain model."""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

import pipeline
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.locations import Location
from pipeline.archive.rewriting import recomputed
from pipeline.archive.summary_tables import Cells, read_extent, read_statistics
from pipeline.archive.transactions import Repository
from pipeline.partitioning.pruning import Selection
from tests.properties.test_against_a_model import (
    CHANNELS,
    NAMES,
    Model,
    _bits,
    canonical,
    columns,
    partitionings,
    policies,
    readings,
)
from tests.support import START

_names = count()


class Compacting(RuleBasedStateMachine):
    """A fleet that is appended to and compacted, and the rows it should hold."""

    @initialize(policy=policies, partitioning=partitionings)
    def create(self, policy: str, partitioning: pipeline.Partitioning) -> None:
        self.url = f"memory://compacting-{next(_names)}"
        archive = pipeline.Archive.create(self.url)
        self.fleet = archive.create_fleet(
            "fleet", pipeline.Schema(CHANNELS), partitioning, duplicates=policy
        )
        self.partitioning = partitioning
        self.model = Model(policy, [])
        self.compacted = False

    @rule(batch=st.lists(readings, min_size=1, max_size=20))
    def append(self, batch: list[tuple[Any, ...]]) -> None:
        self.fleet.append(columns(batch))
        self.model.rows += batch
        self.compacted = False

    @precondition(lambda self: self.model.rows)
    @rule(at=st.integers(0), value=st.none() | st.floats(-10, 10))
    def repeat(self, at: int, value: float | None) -> None:
        """Append a row with the device and time of one that is there."""
        row = self.model.rows[at % len(self.model.rows)]
        self.append([(row[0], row[1], value, *row[3:])])

    @rule(
        small_blocks=st.integers(0, 3),
        overlap=st.integers(1, 3),
        rows_at_once=st.sampled_from([5, 20, 1 << 21]),
    )
    def compact(self, small_blocks: int, overlap: int, rows_at_once: int) -> None:
        policy: Any = {
            "small_blocks": small_blocks,
            "overlap": overlap,
            "rows_at_once": rows_at_once,
        }
        self.fleet.compact(**policy)
        done = self.fleet.compact(**policy)
        assert (done.merges, done.commits, done.snapshot) == (0, 0, "")
        self.compacted = (small_blocks, overlap) == (1, 1) and rows_at_once > 1000

    @rule()
    def compact_everything(self) -> None:
        self.compact(1, 1, 1 << 21)

    @rule()
    def reopen(self) -> None:
        self.fleet = pipeline.Archive.open(self.url).fleet("fleet")

    @invariant()
    def reads_the_rows(self) -> None:
        if not hasattr(self, "fleet"):
            return
        codes = {device: code for code, device in enumerate(self.fleet.devices)}
        table = self.fleet.read().read_all()
        found = pd.DataFrame(
            {name: pd.Series(table[name].to_pylist(), dtype=object) for name in NAMES}
        )
        found["time"] = table["time"].cast("int64").to_numpy()
        rows = [tuple(map(_bits, row)) for row in found.itertuples(index=False)]
        expected = self.model.frame() if self.model.rows else found[:0]
        assert rows == canonical(expected, self.partitioning.window_length, codes)

    @invariant()
    def blocks_are_in_order_once_compacted(self) -> None:
        if not hasattr(self, "fleet") or not self.compacted:
            return
        view = self.store().view()
        blocks = view.blocks(Selection())
        for window in np.unique(blocks.window):
            of_window = blocks.take(blocks.window == window)
            for block in np.unique(of_window.device_block):
                assert of_window.take(of_window.device_block == block).by_device().in_order
        assert all(unit.is_simple for unit in view.units(Selection()))

    @invariant()
    def summaries_are_those_of_the_rows(self) -> None:
        if not hasattr(self, "fleet") or not self.fleet.devices:
            return
        view = self.store().view()
        length = self.partitioning.summary_length
        span = 24 * 3_600_000_000
        periods = range(length.number(START - span), length.number(START + span) + 1)
        codes = np.arange(len(self.fleet.devices))
        extent = read_extent(view.store, view.meta.layout, codes, periods)
        cells = np.count_nonzero(extent[0])
        every = Cells(*map(np.ravel, np.meshgrid(codes, np.array(periods))))
        parts = list(recomputed(view, every))
        assert sum(map(len, parts)) == cells
        for part in parts:
            at = (part.device, part.period - periods.start)
            np.testing.assert_array_equal(extent[:, *at], [part.rows, part.time_min, part.time_max])
            for channel in view.meta.schema:
                stored = read_statistics(view.store, view.meta.layout, channel, codes, periods)[at]
                again = part.channels[channel.name]
                np.testing.assert_array_equal(stored.count, again.count)
                some = again.count > 0
                for name in ("min", "max", "first", "last"):
                    one, two = (getattr(states, name)[some] for states in (stored, again))
                    np.testing.assert_array_equal(one, two)
                scale = max(float(np.abs(again.total).max(initial=0)), 1.0)
                np.testing.assert_allclose(stored.total, again.total, rtol=1e-9, atol=1e-9 * scale)

    def store(self) -> FleetStore:
        return FleetStore(Repository.open(Location.parse(self.url)), "fleet")


Compacting.TestCase.settings = settings(stateful_step_count=10)
TestCompacting = Compacting.TestCase
