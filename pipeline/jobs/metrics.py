"""Figures of streams and sources, served to Prometheus."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, Self

from pipeline.errors import JobError, MissingDependencyError

__all__ = ["MetricsServer", "samples"]

_PREFIX: Final = "iot_archive_"

_STREAM_COUNTERS: Final = frozenset(
    {
        "writes", "rows", "quarantined", "ignored", "late", "restamped", "replayed", "torn_bytes", "commits",
        "committed_rows", "duplicates", "superseded", "retries", "compactions",
        "bytes_committed", "bytes_compacted",
    }
)  # fmt: skip


def samples(counters: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, str], float]]:
    """Yield the figures of streams and their sources as Prometheus knows them.

    Parameters
    ----------
    counters
        Of `pipeline.ingest.multiplexer.Multiplexer.counters`.

    Yields
    ------
    tuple
        Name without a prefix, ``"counter"`` or ``"gauge"``, labels and value.

    References
    ----------
    Prometheus documentation, "Metric and label naming".
    """
    for stream, told in counters.items():
        labels = {"stream": stream}
        yield "stream_up", "gauge", labels, float(told["state"] in ("running", "retrying"))
        for name, value in told.items():
            if isinstance(value, int | float):
                kind = "counter" if name in _STREAM_COUNTERS else "gauge"
                yield f"stream_{name}", kind, labels, float(value)
        for source, figures in told["sources"].items():
            both = {**labels, "source": source}
            yield "source_up", "gauge", both, float(figures["state"] in ("running", "waiting"))
            for name, value in figures.items():
                if isinstance(value, int | float):
                    yield f"source_{name}", "gauge", both, float(value)


class MetricsServer:
    """Serves figures to Prometheus until it is closed.

    Parameters
    ----------
    counters
        Returns the figures at the moment.
    port, address
        Where to listen; port 0 takes any that is free.

    Raises
    ------
    MissingDependencyError
        If prometheus-client is not installed.
    JobError
        If the port is taken.
    """

    def __init__(self, counters: Callable[[], Mapping[str, Any]], port: int, address: str) -> None:
        try:
            client = import_module("prometheus_client")
        except ImportError as error:
            msg = "prometheus needs the library prometheus-client; install it with: pip install 'iot-archive[prometheus]'"
            raise MissingDependencyError(msg) from error
        registry = client.CollectorRegistry()
        registry.register(_Collector(counters, client.metrics_core))
        try:
            self._server, self._thread = client.start_http_server(port, address, registry)
        except OSError as error:
            msg = f"prometheus: cannot listen at {address}:{port}: {error.strerror or error}; choose another port"
            raise JobError(msg) from error

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_port)

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()
        thread: threading.Thread = self._thread
        thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True, eq=False)
class _Collector:
    """Makes Prometheus metrics of counters whenever they are asked for."""

    counters: Callable[[], Mapping[str, Any]]
    core: Any

    def collect(self) -> Iterator[Any]:
        families: dict[str, Any] = {}
        for name, kind, labels, value in samples(self.counters()):
            if name not in families:
                make = (
                    self.core.CounterMetricFamily
                    if kind == "counter"
                    else self.core.GaugeMetricFamily
                )
                text = name.replace("_", " ")
                families[name] = make(f"{_PREFIX}{name}", text, labels=list(labels))
            families[name].add_metric(list(labels.values()), value)
        yield from families.values()
