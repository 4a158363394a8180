"""The protocol of one connection, without a broker: what it says, and what it answers to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.connectors.mqtt.packets import Receipts
from pipeline.connectors.mqtt.reasons import RefusedError
from pipeline.connectors.mqtt.session import Session
from pipeline.connectors.mqtt.wire import (
    ProtocolViolationError,
    acknowledgements,
    ping_packet,
    publish_packet,
)
from tests.connectors.mqtt.drawing import declared

_ACCEPTED = b"\x20\x03\0\0\0"
_PRESENT = b"\x20\x03\1\0\0"
_SUBSCRIBED = b"\x90\x04\0\1\0\1"


def _session(receipts: Receipts | None = None, **options: Any) -> Session:
    known = {} if receipts is None else receipts
    return Session(declared("mqtt://a", "t/+", **options), known, now=0.0, timestamp=0)


def _taken(session: Session) -> bytes:
    """Return what is to be sent, as if it were."""
    sent = bytes(session.outgoing)
    session.outgoing.clear()
    return sent


def test_the_last_will_and_the_session_are_declared_at_once() -> None:
    session = _session(client_id="me", session_expiry_s=60, status_topic="s", keepalive_s=7)
    sent = _taken(session)
    will = json.dumps({"online": False, "timestamp": 0}).encode()
    # Name, level 5, flags: will of QoS 1 that is retained, and no clean start.
    assert sent[2:12] == b"\0\4MQTT\5\x2c\0\7"
    assert b"\x11\0\0\0\x3c\x21\xff\xff" in sent
    assert sent.endswith(b"\0\2me" + b"\0" + b"\0\1s" + len(will).to_bytes(2, "big") + will)


def test_messages_before_the_subscription_is_confirmed_count() -> None:
    session = _session()
    message = publish_packet("t/1", b"x", version=5, qos=1, number=3)
    assert len(session.receive(_PRESENT + message, 0, 0).messages) == 1
    assert session.told.present
    assert not session.told.ready


def test_receipts_of_qos_2_are_dropped_with_the_session() -> None:
    for answer, kept in ((_PRESENT, {b"\0\1": 5}), (_ACCEPTED, {})):
        receipts: Receipts = {b"\0\1": 5}
        _session(receipts).receive(answer, 0, 0)
        assert receipts == kept


def test_a_release_is_answered_and_forgets_the_receipt() -> None:
    receipts: Receipts = {}
    session = _session(receipts, qos=2)
    session.receive(_ACCEPTED + _SUBSCRIBED, 0, 0)
    _taken(session)
    message = publish_packet("t/1", b"x", version=5, qos=2, number=3)
    arrivals = session.receive(message, 0, 0)
    assert _taken(session) == b""
    session.acknowledge(arrivals.acks, arrivals.receipts)
    assert _taken(session) == acknowledgements(5, [b"\0\3"])
    assert list(receipts) == [b"\0\3"]
    session.receive(b"\x62\x02\0\3", 0, 0)
    assert _taken(session) == acknowledgements(7, [b"\0\3"])
    assert receipts == {}


def test_silence_is_asked_about_and_then_given_up() -> None:
    session = _session(keepalive_s=10)
    session.receive(_ACCEPTED + _SUBSCRIBED, 0, 0)
    _taken(session)
    session.tick(4.9, reading=True)
    assert _taken(session) == b""
    session.tick(5.0, reading=True)
    assert _taken(session) == ping_packet()
    session.receive(b"\xd0\0", 6.0, 0)
    session.tick(11.0, reading=True)
    assert _taken(session) == ping_packet()
    with pytest.raises(TimeoutError, match="silent for 10 seconds"):
        session.tick(16.0, reading=True)


def test_silence_tells_nothing_while_nothing_is_read() -> None:
    session = _session(keepalive_s=10)
    session.receive(_ACCEPTED + _SUBSCRIBED, 0, 0)
    _taken(session)
    for now in range(1, 100):
        session.tick(float(now), reading=False)
    # The broker wants signs of life all the same.
    assert _taken(session).count(ping_packet()) >= 9
    session.tick(101.0, reading=True)


def test_the_keepalive_of_the_server_counts() -> None:
    session = _session(keepalive_s=1000)
    session.receive(b"\x20\x06\0\0\x03\x13\0\x0a", 0, 0)
    _taken(session)
    session.tick(5.0, reading=True)
    assert _taken(session) == ping_packet()


@pytest.mark.parametrize(
    ("told", "options", "words", "final"),
    [
        (b"\x20\x03\0\x87\0", {}, "not authorized", True),
        (b"\x20\x08\0\x86\5\x1f\0\2no", {}, r"password is wrong \(no\)", True),
        (b"\x20\x03\0\x89\0", {}, "busy", False),
        (b"\x20\x02\0\x05", {"version": "3.1.1"}, "not authorized", True),
        (b"\x20\x02\0\x03", {"version": "3.1.1"}, "not available", False),
        (b"\x20\x02\0\x84", {"version": "3.1.1"}, "set version", True),
        (b"\x20\x05\0\0\2\x2a\0", {"shared_group": "g"}, "shared", True),
        (_ACCEPTED + b"\x90\x04\0\1\0\x87", {}, "subscription to 't/\\+': the client", True),
        (_ACCEPTED + b"\xe0\x01\x8e", {}, "another client", False),
    ],
)
def test_refusals_are_told(told: bytes, options: dict[str, Any], words: str, final: bool) -> None:
    with pytest.raises(RefusedError, match=words) as caught:
        _session(**options).receive(told, 0, 0)
    assert caught.value.final is final


@pytest.mark.parametrize(
    "told", [b"\x10\0", b"\x20\x03\0\0\0" * 2, b"\x20\0", _ACCEPTED + b"\x90\x03\0\2\0"]
)
def test_what_no_broker_may_send_ends_the_connection(told: bytes) -> None:
    with pytest.raises(ProtocolViolationError):
        _session().receive(told, 0, 0)


def test_a_lower_quality_of_service_is_told() -> None:
    session = _session(qos=2)
    session.receive(_ACCEPTED + _SUBSCRIBED, 0, 0)
    assert session.told.qos == 1
