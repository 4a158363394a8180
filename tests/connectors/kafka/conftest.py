"""A broker for all tests of Kafka, and topics in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.connectors.kafka.topics import Topic, new_topic
from tests.servers.kafka import KafkaBroker, missing
from tests.servers.kafka_certificates import Certificates, make_certificates

_numbers = count()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates of the broker and of a client."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def broker(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[KafkaBroker]:
    """A broker that runs as long as the tests."""
    why = missing()
    if why:
        pytest.skip(why)
    folder: Path = tmp_path_factory.mktemp("kafka") / "broker"
    with KafkaBroker(folder, certificates) as running:
        yield running


@pytest.fixture
def topic(broker: KafkaBroker) -> Callable[..., Topic]:
    """A function that makes a topic of a new name: partitions and settings."""

    def make(partitions: int = 1, **settings: str) -> Topic:
        return new_topic(broker.address, f"topic-{next(_numbers)}", partitions, settings)

    return make
