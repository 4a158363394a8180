"""From devices to the archive through a real broker: whatever happens, what was sent is stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.ingest_rig import FAULTS, Rig
from tests.servers.mosquitto import find

pytestmark = pytest.mark.skipif(
    find() is None, reason="mosquitto is not installed: python -m tests.servers.install"
)


def rounds(folder: Path, number: int, seed: int) -> None:
    rig = Rig(folder, seed)
    try:
        rig.start()
        rig.publish(1100)
        rig.check()
        for at in range(number):
            fault = FAULTS[at % len(FAULTS)]
            fault(rig)
            rig.check()
        assert rig.terminate() == 0
        rig.check()
    finally:
        rig.close()


def test_each_fault_once(tmp_path: Path) -> None:
    rounds(tmp_path, len(FAULTS), 7)


@pytest.mark.campaign
@pytest.mark.timeout(7200)
def test_a_hundred_and_twenty_faults(tmp_path: Path) -> None:
    rounds(tmp_path, 120, 11)
