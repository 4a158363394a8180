"""Devices that are all connected at once, each publishing with QoS 1 for some time.

``python -m tests.integration.many_devices PORT DEVICES SECONDS PAUSE``: prints ``connected`` when all
are, then, when they are done, how many readings of each device the broker has confirmed, as JSON.
Each device has one connection, and sends its next reading when PAUSE seconds have gone by and the
broker has confirmed the one before.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time

from pipeline.connectors.mqtt.wire import connect_packet, disconnect_packet, publish_packet

__all__ = ["START"]

START = 1_767_225_600_000
"""Milliseconds of the first reading of each device: 2026-01-01."""

_AT_ONCE = 200


async def connect(
    port: int, name: str, gate: asyncio.Semaphore
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open one connection of MQTT 3.1.1."""
    async with gate:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(connect_packet(version=4, client_id=name, clean=True, keepalive=600))
        assert (await reader.readexactly(4))[3] == 0
        return reader, writer


async def device(
    number: int,
    port: int,
    gate: asyncio.Semaphore,
    go: asyncio.Event,
    ready: asyncio.Semaphore,
    seconds: float,
    pause: float,
) -> int:
    """Connect, wait for the others, publish; return how many readings were confirmed."""
    name = f"device-{number:05}"
    reader, writer = await connect(port, name, gate)
    ready.release()
    await go.wait()
    await asyncio.sleep(random.Random(number).uniform(0, pause))
    sent, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        payload = json.dumps({"t": START + sent * 1000, "n": sent}).encode()
        writer.write(
            publish_packet(f"many/{name}", payload, version=4, qos=1, number=sent % 65535 + 1)
        )
        await reader.readexactly(4)
        sent += 1
        await asyncio.sleep(max(0.0, began + pause - time.monotonic()))
    writer.write(disconnect_packet())
    await writer.drain()
    writer.close()
    return sent


async def main(port: int, devices: int, seconds: float, pause: float) -> None:
    """Run all devices."""
    gate, go, ready = asyncio.Semaphore(_AT_ONCE), asyncio.Event(), asyncio.Semaphore(0)
    running = [
        asyncio.create_task(device(number, port, gate, go, ready, seconds, pause))
        for number in range(devices)
    ]
    for _ in range(devices):
        await ready.acquire()
    print("connected", flush=True)
    go.set()
    counts = await asyncio.gather(*running)
    print(json.dumps({f"device-{number:05}": sent for number, sent in enumerate(counts)}))


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:3]), *map(float, sys.argv[3:5])))
