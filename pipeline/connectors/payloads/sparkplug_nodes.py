"""What a receiver of Sparkplug B knows of edge nodes: births, aliases, sequence numbers.

Pure state: certificates and data go in, definitions of metrics and events come out. Times are
those at which messages were received.

References
----------
Eclipse Sparkplug Specification 3.0.0, sections 5 (operational behavior) and 6.4.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

__all__ = [
    "Definition",
    "DeviceGone",
    "Event",
    "Key",
    "KnownMetrics",
    "NodeTable",
    "RebirthRequest",
]

_NUMBERS: Final = 256  # sequence numbers go round

type Key = tuple[str, str]
"""Group and edge node."""


@dataclass(frozen=True, slots=True)
class RebirthRequest:
    """An edge node should publish its births again.

    Send it the command ``Node Control/Rebirth`` on ``spBv1.0/{group}/NCMD/{node}``.

    Parameters
    ----------
    group, node
        Which edge node.
    reason
        What was missing.
    """

    group: str
    node: str
    reason: str

    @property
    def topic(self) -> str:
        """Where to publish the command."""
        return f"spBv1.0/{self.group}/NCMD/{self.node}"


@dataclass(frozen=True, slots=True)
class DeviceGone:
    """A death certificate arrived.

    Parameters
    ----------
    group, node
        Which edge node.
    device
        Which of its devices; empty for the node with all of them.
    received
        Microseconds since 1970-01-01 UTC.
    """

    group: str
    node: str
    device: str
    received: int


type Event = RebirthRequest | DeviceGone


@dataclass(frozen=True, slots=True)
class Definition:
    """What a birth says of a metric.

    Parameters
    ----------
    name
        Its name.
    datatype
        The number of its type.
    alias
        By which data may name it; None if there is none.
    """

    name: str
    datatype: int
    alias: int | None = None


@dataclass(frozen=True, slots=True)
class KnownMetrics:
    """The metrics of a device, or of a node itself.

    Parameters
    ----------
    by_name, by_alias
        What the birth said.
    """

    by_name: dict[str, Definition] = field(default_factory=dict)
    by_alias: dict[int, Definition] = field(default_factory=dict)


_NONE: Final = KnownMetrics()


@dataclass(slots=True)
class _Node:
    born: bool = False
    birth: int | None = None
    expected: int = 0
    asked: int | None = None
    metrics: dict[str, KnownMetrics] = field(default_factory=dict)


class NodeTable:
    """All edge nodes that were heard of.

    Parameters
    ----------
    patience
        Microseconds after which a rebirth that did not come is asked for again.
    """

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._nodes: dict[Key, _Node] = {}

    def birth(
        self,
        key: Key,
        device: str,
        seq: int | None,
        birth: int | None,
        metrics: Iterable[Definition],
        received: int,
    ) -> list[Event]:
        """Take a birth certificate of a node, or of a device if one is named.

        Parameters
        ----------
        key
            Group and edge node.
        device
            Its device, or empty.
        seq
            The message's sequence number.
        birth
            The number of the session (``bdSeq``), of nodes.
        metrics
            What it defines.
        received
            Microseconds since 1970-01-01 UTC.
        """
        events: list[Event] = []
        if device:
            node = self._nodes.setdefault(key, _Node())
            events = self._follow(key, node, seq, received)
        else:
            node = self._nodes[key] = _Node(born=True, birth=birth)
            node.expected = ((seq or 0) + 1) % _NUMBERS
        known = node.metrics[device] = KnownMetrics()
        for metric in metrics:
            known.by_name[metric.name] = metric
            if metric.alias is not None:
                known.by_alias[metric.alias] = metric
        return events

    def data(self, key: Key, seq: int | None, received: int) -> list[Event]:
        """Take note of a message with data, and return what its sequence number tells."""
        return self._follow(key, self._nodes.setdefault(key, _Node()), seq, received)

    def death(self, key: Key, device: str, birth: int | None, received: int) -> list[Event]:
        """Take a death certificate; one of an earlier session of a node means nothing.

        The sequence number of a device's death is for `data` to look at.
        """
        node = self._nodes.get(key)
        if node is None:
            return []
        if device:
            node.metrics.pop(device, None)
        elif birth is not None and node.birth is not None and birth != node.birth:
            return []
        else:
            self._nodes[key] = _Node(asked=node.asked)
        return [DeviceGone(*key, device, received)]

    def metrics(self, key: Key, device: str) -> KnownMetrics:
        """Return what births said of the metrics of a device, or of the node itself."""
        node = self._nodes.get(key)
        return _NONE if node is None else node.metrics.get(device, _NONE)

    def request(self, key: Key, reason: str, received: int) -> list[Event]:
        """Ask for a rebirth, unless that was done a short time ago."""
        node = self._nodes.setdefault(key, _Node())
        if node.asked is not None and 0 <= received - node.asked < self._patience:
            return []
        node.asked = received
        return [RebirthRequest(*key, reason)]

    def _follow(self, key: Key, node: _Node, seq: int | None, received: int) -> list[Event]:
        if not node.born:
            return self.request(key, "its birth certificate (NBIRTH) was not seen", received)
        expected, node.expected = node.expected, ((seq or 0) + 1) % _NUMBERS
        if seq == expected:
            return []
        reason = f"sequence number {expected} was expected, and {seq} came"
        return self.request(key, reason, received)
