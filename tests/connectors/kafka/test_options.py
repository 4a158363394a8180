"""The declaration, as job files have it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from pipeline.connectors.kafka import KafkaOptions

TEXT = """
bootstrap_servers: [kafka-1.plant.example:9093, kafka-2.plant.example:9093]
topics: [telemetry]
group_id: archive
start: 2026-01-01T00:00:00Z
security:
  protocol: sasl_ssl
  ca: ca.pem
  mechanism: SCRAM-SHA-512
  username: archive
  password_env: KAFKA_PASSWORD
limits: {batch_messages: 1000}
settings: {session.timeout.ms: 10000, group.protocol: classic}
payload:
  json:
    mapping:
      device: message/key
      time: {columns: at, unit: ms, missing: received}
      channels:
        temperature: {dtype: float64, units: degC}
"""


def test_a_job_files_text_and_back() -> None:
    options = KafkaOptions.model_validate(yaml.safe_load(TEXT))
    assert options.source_name == "kafka/archive"
    assert options.start_ms == 1_767_225_600_000
    assert options.security.mechanism == "SCRAM-SHA-512"
    again = KafkaOptions.model_validate(options.model_dump(mode="json"))
    assert again == options


@pytest.mark.parametrize(
    ("start", "milliseconds"),
    [("earliest", None), ("latest", None), ("1970-01-01T00:00:01.000001Z", 1001)],
)
def test_where_to_start(start: str, milliseconds: int | None) -> None:
    assert _options(start=start).start_ms == milliseconds


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"start": "yesterday"}, "yesterday"),
        ({"start": 5}, "not a time"),
        ({"topics": []}, "at least 1"),
        ({"bootstrap": "x"}, "bootstrap"),
        ({"settings": {"isolation.level": "read_uncommitted"}}, "have to be what they are"),
        ({"settings": {"sasl.password": "x"}}, "security.password_env"),
        ({"payload": {"yaml": {}}}, "no payload format 'yaml'"),
        ({"payload": "json"}, "one format's name"),
        ({"payload": {"json": {"maping": {}}}}, "maping"),
        ({"limits": {"batch_messages": 0}}, "batch_messages"),
    ],
)
def test_wrong_options_are_told(others: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        _options(**others)


def _options(**others: Any) -> KafkaOptions:
    return KafkaOptions.model_validate(yaml.safe_load(TEXT) | others)
