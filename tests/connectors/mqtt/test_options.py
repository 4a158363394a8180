"""Declarations that make sense, and words for those that do not."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.connectors.mqtt import MqttBackoff
from tests.connectors.mqtt.drawing import declared


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"url": "http://a"}, "is none like mqtt://host:1883"),
        ({"url": "mqtt://me:secret@a"}, "must hold no username"),
        ({"tls": {"check_hostname": False}}, "write mqtts://"),
        ({"url": "mqtts://a", "tls": {"certificate": "a"}}, "go together"),
        ({"client_id": ""}, "needs a client_id"),
        ({"username": "a", "password_env": "A", "password_file": "b"}, "is enough"),
        ({"password_env": "A"}, "needs a username"),
        ({"shared_group": "a/b"}, "shared_group"),
        ({"status_topic": "a/#"}, "no wildcard"),
        ({"version": "3.1"}, "3.1.1"),
        ({"qos": 3}, "qos"),
        ({"payload": {"jsn": {}}}, "there are: avro"),
        ({"payload": {"json": {}, "cbor": {}}}, "one format's name"),
        ({"payload": {"json": {"maping": {}}}}, "maping"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_wrong_declarations_are_told(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        declared(**{"url": "mqtt://a", "topic": "t/+", **wrong})


def test_what_is_subscribed_to() -> None:
    plain = declared("mqtt://a", "p/{site}/{device}/data")
    assert plain.filters == ("p/+/+/data",)
    shared = declared("mqtt://a", "p/{device}", shared_group="g", topics=["p/1", "p/2/#"])
    assert shared.filters == ("$share/g/p/1", "$share/g/p/2/#")


def test_addresses() -> None:
    assert declared("mqtt://a", "t").address == ("a", 1883)
    assert declared("mqtts://b", "t").address == ("b", 8883)
    assert declared("mqtt://[::1]:99", "t").address == ("::1", 99)


def test_no_secret_is_written_in_a_declaration() -> None:
    options = declared("mqtt://a", "t", username="u", password_env="SECRET_OF_TEST")
    assert "SECRET_OF_TEST" in repr(options)
    assert "password=" not in repr(options)


def test_delays_grow_to_a_bound_and_differ_by_chance() -> None:
    backoff = MqttBackoff(first_s=0.5, most_s=30)
    delays = [backoff.delay(failures, 0.999999) for failures in range(1, 100)]
    assert delays == sorted(delays)
    assert delays[0] == pytest.approx(0.5, rel=1e-3)
    assert delays[-1] == pytest.approx(30, rel=1e-3)
    assert backoff.delay(3, 0.0) == 1.0
