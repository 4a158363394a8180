"""The first contact with the brokers, where wrong options show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from pipeline.connectors.kafka.library import LOG, kafka_library
from pipeline.errors import InvalidInputError

if TYPE_CHECKING:
    from pipeline.connectors.kafka.options import KafkaOptions

__all__ = ["first_contact"]

_TRY_S: Final = 0.5


def first_contact(
    consumer: Any,
    options: KafkaOptions,
    errors: Sequence[Any],
    clock: Callable[[], float],
) -> dict[str, int]:
    """Ask a broker for the topics, until one answers.

    Parameters
    ----------
    consumer
        Of the library.
    options
        The declaration.
    errors
        What went wrong with connections; grows while the consumer is polled.
    clock
        Returns seconds.

    Returns
    -------
    dict
        How many partitions each topic has.

    Raises
    ------
    InvalidInputError
        If the credentials or certificates are refused, no broker answers in time, or a topic is
        not there or must not be read.
    """
    library = kafka_library()
    refused = (library.KafkaError._AUTHENTICATION, library.KafkaError._SSL)
    deadline = clock() + options.connect_timeout_s
    while True:
        try:
            found = consumer.list_topics(timeout=_TRY_S).topics
        except library.KafkaException:
            found = None
        consumer.poll(0)  # has `errors` filled
        wrong = next((error for error in errors if error.code() in refused), None)
        if wrong is not None:
            raise InvalidInputError(_message(options, wrong, "refuses the connection"))
        if found is not None:
            break
        if clock() > deadline:
            last = errors[-1] if errors else "no answer"
            within = f"cannot be reached within {options.connect_timeout_s:g} s"
            raise InvalidInputError(_message(options, last, within))
    _check_topics(consumer, options, found)
    return {name: len(topic.partitions) for name, topic in found.items()}


def _check_topics(consumer: Any, options: KafkaOptions, found: Any) -> None:
    library = kafka_library()
    for name in options.topics:
        if name.startswith("^") or name in found:
            continue
        # A topic that must not be read is not in the list either; asked for, it says why.
        told = consumer.list_topics(name, timeout=options.connect_timeout_s).topics[name].error
        if told is not None and told.code() == library.KafkaError.TOPIC_AUTHORIZATION_FAILED:
            msg = f"Kafka source {options.source_name!r}: topic {name!r} must not be read: {told}"
            raise InvalidInputError(msg)
        if options.missing_topics == "error":
            msg = (
                f"Kafka source {options.source_name!r}: there is no topic {name!r}; "
                "with missing_topics: wait it may come later"
            )
            raise InvalidInputError(msg)
        LOG.warning("topic %r is not there yet; it is looked for every 30 seconds", name)


def _message(options: KafkaOptions, error: Any, what: str) -> str:
    servers = ", ".join(options.bootstrap_servers)
    text = error.str() if hasattr(error, "str") else str(error)
    return (
        f"Kafka source {options.source_name!r}: {servers} {what}: {text}; "
        "check bootstrap_servers and security"
    )
