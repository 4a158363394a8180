"""Fixtures and hooks shared by all tests."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# The same examples in every run of a state of the code; HYPOTHESIS_PROFILE=search looks for others.
settings.register_profile(
    "quick",
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "search", max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "thorough", max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
# Prefect makes a folder of its own when it is imported, which collecting the tests does.
os.environ.setdefault("PREFECT_HOME", str(Path(tempfile.gettempdir()) / f"prefect-{os.getuid()}"))
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")

settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

_ROOT = Path(__file__).parent.parent

_LOGS = ("pipeline", "pipeline.jobs")
"""Those that the command line sets up, for the whole process."""

collect_ignore = ["integration/plain_reader.py", "integration/rollup_reader.py"]
"""Scripts, which read their arguments when they are imported."""


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real sensor data, with the sub-folders ``parquet`` and ``raw``."""
    named = os.environ.get("IOT_ARCHIVE_REAL_DATA")
    folder = Path(named) if named else _ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data: set IOT_ARCHIVE_REAL_DATA to its folder ({folder} is none)")
    return folder


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    """Put the package's logs back as they were before the test."""
    before = [(log, log.level, list(log.handlers)) for log in map(logging.getLogger, _LOGS)]
    yield
    for log, level, handlers in before:
        log.setLevel(level)
        log.handlers[:] = handlers


def pytest_configure(config: pytest.Config) -> None:
    """Have failures told at once, by the process that the others report to."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_FailuresAtOnce(config))


def pytest_collection_finish() -> None:
    """Keep the log lines of tests from the terminal, where Prefect has them told once it is imported."""
    root = logging.getLogger()
    for handler in [one for one in root.handlers if type(one).__module__.startswith("prefect.")]:
        root.removeHandler(handler)


class _FailuresAtOnce:
    """Names a test and its error as soon as it fails, for runs that are stopped before their end."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            terminal = self._config.get_terminal_writer()
            terminal.line(f"\n{report.nodeid} failed at {report.when}:\n{report.longreprtext}")


@pytest.hookimpl(optionalhook=True)
def pytest_json_modifyreport(json_report: dict[str, Any]) -> None:
    """Keep what proves the run, drop what belongs to the machine it ran on."""
    for key in ("environment", "root", "collectors", "warnings"):
        json_report.pop(key, None)
    for test in json_report.get("tests", []):
        for phase in ("setup", "call", "teardown"):
            outcome = test.get(phase, {})
            test[phase] = {
                key: value for key, value in outcome.items() if key in ("duration", "outcome")
            }
        for key in ("lineno", "keywords", "metadata"):
            test.pop(key, None)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name parameters that hold a path of this machine after the end of it."""
    if isinstance(val, str) and any(place in val for place in (str(_ROOT), str(Path.home()))):
        return f"...{Path(val).name}"
    return None
