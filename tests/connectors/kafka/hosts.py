"""An archive in memory that keeps the rules of the port of live sources."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from pipeline.connectors.kafka import KafkaOptions, KafkaSource
from pipeline.model.live_sources import LiveBatch

__all__ = ["MemoryArchive", "MemoryHost", "running", "until"]


class MemoryArchive:
    """Rows and positions, which change together."""

    def __init__(self) -> None:
        self.known: dict[str, Any] = {}
        self.numbers: list[int] = []
        self.devices: list[str] = []
        self.records: list[str] = []
        self.reasons: list[str] = []
        self.left_out = 0

    def commit(self, name: str, batch: LiveBatch) -> None:
        """Store a batch, unless its source stands elsewhere than it expects."""
        known = self.known.setdefault(name, {})
        if not _fits(known, batch.expects):
            self.left_out += 1
            return
        _merge(known, batch.positions)
        if "number" in batch.table.column_names:
            self.numbers += batch.table["number"].to_pylist()
        self.devices += batch.table["device"].to_pylist()
        self.records += batch.rejects.records
        self.reasons += batch.rejects.reasons

    def known_of(self, topic: str) -> dict[str, int]:
        """Return where the partitions of a topic stand."""
        found: dict[str, int] = {}
        for topics in self.known.values():
            found |= topics.get(topic, {})
        return found


class MemoryHost:
    """Draws from one source into an archive."""

    def __init__(self, archive: MemoryArchive, source: KafkaSource) -> None:
        self.archive = archive
        self.source = source
        self.waiting: list[LiveBatch] = []
        self.settles = True
        """Whether `settle` can do its work."""

    def positions(self) -> Mapping[str, Any]:
        """Return where the source stands."""
        found: dict[str, Any] = deepcopy(self.archive.known.get(self.source.name, {}))
        return found

    def settle(self, timeout: float) -> bool:
        """Store what is on the way."""
        if self.settles:
            self.commit()
        return self.settles

    def commit(self) -> None:
        """Store what is on the way, and acknowledge it."""
        while self.waiting:
            batch = self.waiting.pop(0)
            self.archive.commit(self.source.name, batch)
            self.source.acknowledge(batch.token)

    def draw(self, timeout: float = 0.1) -> int:
        """Take a batch, without storing it; return how many rows came."""
        batch = self.source.poll(timeout)
        if batch is None:
            return 0
        self.waiting.append(batch)
        return len(batch.table)

    def until(self, done: Callable[[], bool], seconds: float = 30.0) -> None:
        """Take and store batches until something is so."""
        until([self], done, seconds)


def until(hosts: Sequence[MemoryHost], done: Callable[[], bool], seconds: float = 30.0) -> None:
    """Take and store batches of several hosts in turn until something is so."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, [dict(host.source.counters()) for host in hosts]
        for host in hosts:
            host.draw()
            host.commit()


@contextmanager
def running(options: KafkaOptions, archive: MemoryArchive | None = None) -> Iterator[MemoryHost]:
    """Start a source, and stop it at the end."""
    source = options.source()
    host = MemoryHost(archive or MemoryArchive(), source)
    source.start(host)
    try:
        yield host
    finally:
        source.stop()


def _fits(known: Any, expects: Any) -> bool:
    if isinstance(expects, Mapping):
        return all(_fits(known.get(key) if known else None, one) for key, one in expects.items())
    return known is None or bool(known == expects)


def _merge(known: dict[str, Any], positions: Mapping[str, Any]) -> None:
    for key, value in positions.items():
        if isinstance(value, Mapping):
            _merge(known.setdefault(key, {}), value)
        else:
            known[key] = value
