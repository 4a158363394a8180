"""Readers that come, go, sleep and die at random: every message is stored exactly once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.connectors.kafka.hosts import MemoryArchive, MemoryHost, until
from tests.connectors.kafka.topics import Topic

SECONDS = 40
BACKLOG = 20_000


@pytest.mark.campaign
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
@pytest.mark.parametrize("seed", range(2))
def test_exactly_once(topic: Callable[..., Topic], protocol: str, seed: int) -> None:
    chance = random.Random(seed)
    told = topic(partitions=5)
    settings: dict[str, Any] = {"group.protocol": protocol, "max.poll.interval.ms": 2000}
    if protocol == "classic":
        settings |= {"session.timeout.ms": 1500, "heartbeat.interval.ms": 200}
    options = told.options(
        settings=settings, limits={"batch_messages": 100, "linger_s": 0.0}, settle_timeout_s=1
    )
    archive = MemoryArchive()
    hosts: list[MemoryHost] = []
    asleep: dict[int, float] = {}
    done: dict[str, int] = {}
    sent = 0
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        act = chance.choices(
            ["draw", "commit", "send", "start", "stop", "die", "sleep", "unsettle"],
            [600, 200, 100, 30, 10, 10, 5, 60],
        )[0]
        done[act] = done.get(act, 0) + 1
        host = chance.choice(hosts) if hosts else None
        if act == "send" and sent < len(archive.numbers) + BACKLOG:
            told.send(range(sent, sent + 500))
            sent += 500
        elif act == "start" and len(hosts) < 3:
            hosts.append(MemoryHost(archive, options.source()))
            hosts[-1].settles = chance.random() < 0.5
            hosts[-1].source.start(hosts[-1])
        elif host is None or asleep.get(id(host), 0.0) > time.monotonic():
            time.sleep(0.005)
        elif act == "sleep":
            asleep[id(host)] = time.monotonic() + chance.choice([0.5, 3.0])
        elif act == "draw":
            host.draw(0.02)
        elif act == "commit":
            host.commit()
        elif act == "unsettle":
            host.settles = not host.settles
        else:
            if act == "stop":
                host.commit()
            host.source.stop()  # what is on its way of one that dies is gone
            hosts.remove(host)
    for host in hosts[1:]:
        host.source.stop()
    last = hosts[0] if hosts else MemoryHost(archive, options.source())
    if not hosts:
        last.source.start(last)
    last.settles = True
    until([last], lambda: len(archive.numbers) >= sent, 60)
    last.source.stop()
    print(f"{protocol}: {sent} messages, {archive.left_out} batches left out, {done}")
    assert sorted(archive.numbers) == list(range(sent))
