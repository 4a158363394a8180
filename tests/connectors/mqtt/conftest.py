"""Brokers for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.certificates import Certificates, made_certificates
from tests.servers.mosquitto import Mosquitto, find, mosquitto


@pytest.fixture(scope="session")
def installed() -> None:
    """Skip tests where there is no broker."""
    if find() is None:
        pytest.skip("mosquitto is not installed: python -m tests.servers.install")


@pytest.fixture(scope="session")
def broker(installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """A broker that all tests share, each with topics of its own."""
    folder = tmp_path_factory.mktemp("mosquitto")
    with mosquitto(folder, settings=("max_inflight_messages 0",)) as made:
        yield made


@pytest.fixture
def own_broker(installed: None, tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that a test may kill."""
    settings = ("max_inflight_messages 0",)
    with mosquitto(tmp_path / "mosquitto", settings=settings) as made:
        yield made


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates that are made once."""
    return made_certificates(tmp_path_factory.mktemp("certificates"))
