"""The library that speaks Kafka's protocol, and its settings."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import InvalidInputError, MissingDependencyError

if TYPE_CHECKING:
    from pipeline.connectors.kafka.options import KafkaOptions

__all__ = ["LOG", "kafka_library", "new_consumer"]

LOG: Final = logging.getLogger("pipeline.connectors.kafka")
"""Where the connector tells what happens."""

_LIBRARY_LOG: Final = LOG.getChild("librdkafka")  # tells every attempt to connect

_DEFAULTS: Final[dict[str, Any]] = {
    "client.id": "iot-archive",
    "check.crcs": True,
    # Partitions that are added are found within half a minute instead of five.
    "topic.metadata.refresh.interval.ms": 30_000,
    # A full buffer is looked at again soon: after the second of the default it is long empty.
    "fetch.queue.backoff.ms": 20,
}


def kafka_library() -> Any:
    """Import ``confluent_kafka``.

    Raises
    ------
    MissingDependencyError
        If it is not installed.
    """
    try:
        return import_module("confluent_kafka")
    except ImportError as error:
        msg = (
            "Kafka sources need the library confluent-kafka; "
            "install it with: pip install 'iot-archive[kafka]'"
        )
        raise MissingDependencyError(msg) from error


def new_consumer(
    options: KafkaOptions,
    on_error: Callable[[Any], None],
    on_commit: Callable[[Any, Any], None],
) -> Any:
    """Return a consumer that is not subscribed yet.

    Parameters
    ----------
    options
        The declaration.
    on_error
        Is called with errors of the connections, by the thread that polls.
    on_commit
        Is called with the error, or None, of a commit of offsets, and the offsets.

    Raises
    ------
    InvalidInputError
        If a setting is unknown or wrong, or a secret cannot be read.
    MissingDependencyError
        If confluent-kafka is not installed.
    """
    library = kafka_library()
    told = {
        **_DEFAULTS,
        **options.settings,
        **options.security.settings(),
        "bootstrap.servers": ",".join(options.bootstrap_servers),
        "group.id": options.group_id,
        # The archive alone tells where to go on.
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        "allow.auto.create.topics": False,
        "queued.max.messages.kbytes": options.limits.buffer_bytes // 1024,
        "error_cb": on_error,
        "on_commit": on_commit,
    }
    if told.get("group.protocol", "classic") == "classic":
        told["partition.assignment.strategy"] = "cooperative-sticky"
    try:
        return library.Consumer(told, logger=_LIBRARY_LOG)
    except (library.KafkaException, TypeError, ValueError) as error:
        msg = f"the settings of Kafka source {options.source_name!r} are wrong: {_text(error)}"
        raise InvalidInputError(msg) from error


def _text(error: Exception) -> str:
    first = error.args[0] if error.args else error
    return first.str() if hasattr(first, "str") else str(first)
