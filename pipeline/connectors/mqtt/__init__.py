"""Messages of an MQTT broker: `MqttOptions` declares a source, `MqttSource` draws from it."""

from __future__ import annotations

from pipeline.connectors.mqtt.options import MqttBackoff, MqttLimits, MqttOptions, MqttTls
from pipeline.connectors.mqtt.source import MqttSource

__all__ = ["MqttBackoff", "MqttLimits", "MqttOptions", "MqttSource", "MqttTls"]
