"""What waits between the thread that reads the broker and the one that draws from the source."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Final

from pipeline.connectors.mqtt.options import MqttLimits
from pipeline.connectors.mqtt.packets import Arrivals
from pipeline.connectors.mqtt.session import Session

__all__ = ["Inbox"]

_PAUSE: Final = 0.002  # seconds; a batch ends when nothing came for so long

type Arrived = tuple[Session, Arrivals]


class Inbox:
    """A queue that is bounded by bytes: whoever fills it looks at `has_room` before reading more.

    Parameters
    ----------
    limits
        How much it holds, and how much is taken at once.
    """

    def __init__(self, limits: MqttLimits) -> None:
        self._limits = limits
        self._changed = threading.Condition()
        self._waiting: deque[Arrived] = deque()
        self._messages = 0
        self._failure: BaseException | None = None
        self.held = 0

    @property
    def has_room(self) -> bool:
        """Whether less waits than may."""
        return self.held < self._limits.buffer_bytes

    def put(self, session: Session, arrivals: Arrivals) -> None:
        """Add what came on a connection."""
        with self._changed:
            self._waiting.append((session, arrivals))
            self._messages += len(arrivals.messages)
            self.held += arrivals.size
            self._changed.notify()

    def fail(self, failure: BaseException) -> None:
        """Have `take` raise an error: nothing more will come."""
        with self._changed:
            self._failure = failure
            self._changed.notify()

    def take(self, timeout: float) -> list[Arrived]:
        """Return what waits, up to the size of a batch; empty if nothing came in time.

        Parameters
        ----------
        timeout
            Seconds.

        Raises
        ------
        RuntimeError
            If the thread that reads has ended by an error.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._failure, timeout)
            if self._failure is not None and not self._waiting:
                msg = f"the reader of the MQTT broker has failed: {self._failure!r}"
                raise RuntimeError(msg) from self._failure
        self._linger()
        return self._take()

    def _linger(self) -> None:
        limits = self._limits
        until = time.monotonic() + limits.linger_s
        before = 0
        while before < self._messages < limits.batch_messages and self.held < limits.batch_bytes:
            if time.monotonic() >= until:
                return
            before = self._messages
            time.sleep(_PAUSE)

    def _take(self) -> list[Arrived]:
        limits = self._limits
        taken: list[Arrived] = []
        messages = size = 0
        with self._changed:
            while self._waiting and messages < limits.batch_messages and size < limits.batch_bytes:
                taken.append(self._waiting.popleft())
                messages += len(taken[-1][1].messages)
                size += taken[-1][1].size
            self._messages -= messages
            self.held -= size
        return taken
