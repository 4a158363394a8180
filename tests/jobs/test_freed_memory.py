"""A worker keeps what it frees, and gives it back when the job is over."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_PROGRAM = """
import ctypes, resource, threading
import numpy as np
from pipeline.jobs.freed_memory import give_back, keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(3 << 20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def in_thread(found):
    thread = threading.Thread(target=lambda: found.append(faults()))
    thread.start()
    thread.join()

found = []
found.append(faults())
kept = keep_freed_memory()
faults()
found.append(faults())
in_thread(found)
print(kept, *found, give_back())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc can be told")
def test_arrays_are_not_paged_in_anew() -> None:
    environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, check=True
    )
    kept, before, after, in_thread, given = done.stdout.decode().split()
    assert kept == given == "True"
    assert int(before) > 10 * int(after)
    assert int(before) > 10 * int(in_thread)
