"""Kafka topics as a live source of rows."""

from __future__ import annotations

from pipeline.connectors.kafka.options import KafkaLimits, KafkaOptions, KafkaSecurity
from pipeline.connectors.kafka.source import KafkaSource

__all__ = ["KafkaLimits", "KafkaOptions", "KafkaSecurity", "KafkaSource"]
