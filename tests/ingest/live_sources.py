"""A source for tests of pumps: it does what it is told, and remembers what it was asked."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from pipeline.model.live_sources import LiveBatch, LiveHost
from pipeline.model.rejects import Rejects
from tests.ingest.sinks import batch_of

__all__ = ["ListSource"]


@dataclass
class ListSource:
    """Hands over values, a batch at a time.

    Parameters
    ----------
    batches
        Values of each batch.
    replays
        Whether it begins where the archive says.
    failing
        Errors to raise instead of the next batches.
    """

    batches: Sequence[Sequence[int]]
    replays: bool = False
    name: str = "list"
    failing: deque[BaseException] = field(default_factory=deque)
    rejects: Mapping[int, Rejects] = field(default_factory=dict)
    at: int = 0
    starts: int = 0
    stops: int = 0
    pauses: int = 0
    resumes: int = 0
    acknowledged: list[int] = field(default_factory=list)
    host: LiveHost | None = None
    is_over: threading.Event = field(default_factory=threading.Event)
    paused: bool = False

    def arrow_schema(self) -> pa.Schema:
        return batch_of([]).schema

    def start(self, host: LiveHost) -> None:
        self.starts += 1
        self.host = host
        if self.replays:
            self.at = int(host.positions().get("batches", 0))
        elif self.acknowledged:
            self.at = self.acknowledged[-1]
        else:
            self.at = 0

    def poll(self, timeout: float) -> LiveBatch | None:
        if self.failing:
            raise self.failing.popleft()
        if self.at >= len(self.batches) or self.paused:
            if self.at >= len(self.batches):
                self.is_over.set()
            time.sleep(min(timeout, 0.01))
            return None
        values = self.batches[self.at]
        self.at += 1
        replayed: dict[str, Any] = {}
        if self.replays:
            replayed = {"positions": {"batches": self.at}, "expects": {"batches": self.at - 1}}
        return LiveBatch(
            pa.Table.from_batches([batch_of(values)]),
            self.rejects.get(self.at - 1, Rejects()),
            messages=len(values),
            bytes=100 * len(values),
            token=self.at,
            **replayed,
        )

    def acknowledge(self, token: Any) -> None:
        self.acknowledged.append(token)

    def pause(self) -> None:
        self.pauses += 1
        self.paused = True

    def resume(self) -> None:
        self.resumes += 1
        self.paused = False

    def counters(self) -> Mapping[str, int | float | str]:
        return {"handed_over": self.at}

    def stop(self) -> None:
        self.stops += 1
