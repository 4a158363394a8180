"""Topics with messages that are numbered, so that tests can tell which came."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic

from pipeline.connectors.kafka import KafkaOptions

__all__ = ["PAYLOAD", "Topic", "message", "new_topic"]

PAYLOAD: Mapping[str, Any] = {
    "json": {
        "mapping": {
            "device": "message/key",
            "time": {"columns": "at", "unit": "ms"},
            "channels": {"number": {"dtype": "int64"}},
        }
    }
}
"""What the messages are."""


def message(number: int) -> bytes:
    """Return a payload."""
    return json.dumps({"at": 1_700_000_000_000 + number, "number": number}).encode()


@dataclass(frozen=True)
class Topic:
    """A topic at a broker."""

    address: str
    name: str
    partitions: int

    def options(self, **others: Any) -> KafkaOptions:
        """Return the declaration of a source of it."""
        told = {
            "bootstrap_servers": [self.address],
            "topics": [self.name],
            "group_id": f"group-of-{self.name}",
            "payload": PAYLOAD,
            "commit_interval_s": 0.2,
        }
        return KafkaOptions.model_validate(told | others)

    def send(self, numbers: Iterable[int], **settings: Any) -> None:
        """Write messages with these numbers, spread over the partitions, and wait for them."""
        producer = Producer({"bootstrap.servers": self.address, "linger.ms": 5, **settings})
        for number in numbers:
            producer.produce(
                self.name, message(number), f"device-{number % 7}", number % self.partitions
            )
        self.flush(producer)

    def put(self, value: bytes | None, key: str | bytes = "device-0", **others: Any) -> None:
        """Write one message."""
        producer = Producer({"bootstrap.servers": self.address})
        producer.produce(self.name, value, key, **others)
        self.flush(producer)

    @staticmethod
    def flush(producer: Producer) -> None:
        """Wait until everything is written."""
        assert producer.flush(30) == 0

    def grow(self, partitions: int) -> None:
        """Have so many partitions."""
        admin = self._admin()
        admin.create_partitions([NewPartitions(self.name, partitions)])[self.name].result(30)

    def forget(self, offset: int, partition: int = 0) -> None:
        """Delete the messages before an offset, as retention would."""
        admin = self._admin()
        place = TopicPartition(self.name, partition, offset)
        admin.delete_records([place])[place].result(30)

    def make_anew(self) -> None:
        """Delete the topic, and make one of the same name."""
        admin = self._admin()
        admin.delete_topics([self.name], operation_timeout=30)[self.name].result(30)
        deadline = time.monotonic() + 30
        while self.name in admin.list_topics(timeout=10).topics:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        admin.create_topics([NewTopic(self.name, self.partitions, 1)])[self.name].result(30)

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.address})


def new_topic(address: str, name: str, partitions: int, settings: Mapping[str, str]) -> Topic:
    """Make a topic; underscores in the names of settings stand for dots."""
    told = {key.replace("_", "."): value for key, value in settings.items()}
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic(name, partitions, 1, config=told)])[name].result(30)
    return Topic(address, name, partitions)
