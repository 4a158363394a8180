"""Connections that break in every way: what was not acknowledged comes again, once it is whole."""

from __future__ import annotations

import random
import threading
import time

import pytest

from tests.connectors.mqtt.drawing import (
    declared,
    draw,
    numbers,
    publish,
    readings,
    running,
    until,
    unused_name,
)
from tests.connectors.mqtt.drawing import (
    devices as devices_of,
)
from tests.servers.mosquitto import Mosquitto, mosquitto
from tests.servers.ports import free_port
from tests.servers.proxy import proxy


@pytest.mark.parametrize("qos", [1, 2])
def test_an_acknowledgement_never_goes_to_a_newer_connection(broker: Mosquitto, qos: int) -> None:
    topic = unused_name()
    with proxy(broker.port) as between:
        options = declared(f"mqtt://127.0.0.1:{between.port}", f"{topic}/{{device}}", qos=qos)
        with running(options) as source:
            publish(broker.url, readings(f"{topic}/pump", range(20)), qos=qos)
            old = draw(source, 20, acknowledge=False)
            between.cut()
            again = draw(source, 20, acknowledge=False)
            assert numbers(again) == numbers(old) == list(range(20))
            # The newer connection uses the same packet identifiers: these must not reach it.
            source.acknowledge(old[-1].token)
            until(lambda: source.counters()["acknowledgements_dropped"] == len(old))
            between.cut()
            assert numbers(draw(source, 20)) == list(range(20))
            assert source.counters()["sessions_lost"] == 0
        with running(options) as source:
            assert draw(source, 1, seconds=0.3) == []


def test_a_message_of_qos_2_that_is_safe_comes_once(broker: Mosquitto) -> None:
    topic = unused_name()
    with proxy(broker.port) as between:
        url = f"mqtt://127.0.0.1:{between.port}"
        with running(declared(url, f"{topic}/{{device}}", qos=2)) as source:
            publish(broker.url, readings(f"{topic}/pump", range(50)), qos=2)
            batches = draw(source, 50, acknowledge=False)
            between.swallow()  # the acknowledgement gets lost on its way
            source.acknowledge(batches[-1].token)
            time.sleep(0.2)
            between.heal()
            until(lambda: source.counters()["repeated"] == 50)
            assert draw(source, 1, seconds=0.3) == []


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_a_connection_that_swallows_everything_is_given_up(broker: Mosquitto, version: str) -> None:
    topic = unused_name()
    with proxy(broker.port) as between:
        url = f"mqtt://127.0.0.1:{between.port}"
        options = declared(
            url, f"{topic}/{{device}}", keepalive_s=1, connect_timeout_s=1, version=version
        )
        with running(options) as source:
            between.swallow()
            publish(broker.url, readings(f"{topic}/pump", range(5)))
            until(lambda: source.counters()["connected"] == 0)
            assert "silent" in str(source.counters()["last_error"])
            between.heal()
            assert numbers(draw(source, 5)) == list(range(5))


def test_idle_and_paused_connections_stay(broker: Mosquitto) -> None:
    topic = unused_name()
    options = declared(broker.url, f"{topic}/{{device}}", keepalive_s=1)
    with running(options) as source:
        time.sleep(1.7)
        source.pause()
        time.sleep(1.7)
        source.resume()
        publish(broker.url, readings(f"{topic}/pump", range(5)))
        assert numbers(draw(source, 5)) == list(range(5))
        assert source.counters()["connections"] == 1


@pytest.mark.parametrize("qos", [1, 2])
def test_a_killed_broker_sends_again_what_it_had_stored(own_broker: Mosquitto, qos: int) -> None:
    options = declared(own_broker.url, "killed/{device}", qos=qos)
    with running(options) as source:
        publish(own_broker.url, readings("killed/pump", range(30)), qos=qos)
        assert numbers(draw(source, 30, acknowledge=False)) == list(range(30))
        own_broker.store()
        own_broker.kill()
        until(lambda: source.counters()["connected"] == 0)
        own_broker.start()
        assert numbers(draw(source, 30)) == list(range(30))
    with running(options) as source:
        assert draw(source, 1, seconds=0.3) == []


def test_a_forgotten_session_is_counted(own_broker: Mosquitto) -> None:
    with running(declared(own_broker.url, "lost/{device}")) as source:
        own_broker.kill()
        (own_broker.folder / "mosquitto.db").unlink(missing_ok=True)
        own_broker.start()
        until(lambda: source.counters()["connections"] == 2)
        assert source.counters()["sessions_lost"] == 1
        publish(own_broker.url, readings("lost/pump", [1]))
        assert numbers(draw(source, 1)) == [1]


def test_a_broker_that_is_not_there_yet_is_waited_for(
    installed: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    port = free_port()
    with running(declared(f"mqtt://127.0.0.1:{port}", "later/{device}")) as source:
        assert source.poll(0.1) is None
        assert source.counters()["connected"] == 0
        assert "refused" in str(source.counters()["last_error"])
        late = Mosquitto(tmp_path_factory.mktemp("late"))
        late.port = port
        late.start()
        try:
            until(lambda: source.counters()["connected"] == 1)
            until(lambda: source.counters()["last_error"] == "")
        finally:
            late.stop()


def test_a_second_client_of_the_same_name_is_told(broker: Mosquitto) -> None:
    options = declared(broker.url, f"{unused_name()}/+")
    with running(options) as source, running(options):
        until(lambda: "same client_id" in str(source.counters()["last_error"]))


@pytest.mark.parametrize(("version", "qos"), [("5", 1), ("5", 2), ("3.1.1", 1)])
def test_what_is_sent_is_received_whatever_is_cut(
    installed: None, tmp_path_factory: pytest.TempPathFactory, version: str, qos: int
) -> None:
    chance = random.Random(f"{version} {qos}")
    sent = [(f"d{n % 100}", n) for n in range(4000)]
    folder = tmp_path_factory.mktemp("cut")
    settings = ("max_inflight_messages 500",)
    with mosquitto(folder, settings=settings) as made, proxy(made.port) as between:
        options = declared(
            f"mqtt://127.0.0.1:{between.port}",
            "cut/{device}",
            version=version,
            qos=qos,
            limits={"receive_maximum": 500, "batch_messages": 100},
        )
        with running(options) as source:
            publisher = threading.Thread(target=_publish_slowly, args=(made.url, sent, qos))
            publisher.start()
            received: set[tuple[str, int]] = set()
            deadline = time.monotonic() + 60
            while len(received) < len(sent) and time.monotonic() < deadline:
                batch = source.poll(0.05)
                if chance.random() < 0.3:
                    between.cut()
                if batch is None:
                    continue
                received |= set(zip(devices_of([batch]), numbers([batch]), strict=True))
                if chance.random() < 0.7:
                    source.acknowledge(batch.token)
            publisher.join()
            connections = source.counters()["connections"]
    assert received == set(sent)
    assert isinstance(connections, int)
    assert connections > 3


def _publish_slowly(url: str, sent: list[tuple[str, int]], qos: int) -> None:
    for start in range(0, len(sent), 500):
        messages = [
            message
            for device, n in sent[start : start + 500]
            for message in readings(f"cut/{device}", [n])
        ]
        publish(url, messages, qos=qos)
        time.sleep(0.02)
