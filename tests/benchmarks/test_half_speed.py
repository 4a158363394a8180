"""Workers that take turns."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil

from tests.benchmarks.half_speed import half_speed

SPIN = "import time\nend = time.time() + 30\nwhile time.time() < end: pass"
TREE = f"""
import subprocess, sys
some = [subprocess.Popen([sys.executable, "-c", {SPIN!r}, "multiprocessing.spawn"]) for _ in range(2)]
print("ready", flush=True)
sys.stdin.read()
for one in some: one.kill()
for one in some: one.wait()
"""


def test_each_runs_half_of_the_time_and_goes_on_afterwards() -> None:
    command, pipe = [sys.executable, "-c", TREE], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        process.stdout.readline()
        root = psutil.Process(process.pid)
        workers = root.children()
        assert len(workers) == 2
        with half_speed(root):
            time.sleep(0.3)  # until they are found
            before, began = [sum(one.cpu_times()[:2]) for one in workers], time.perf_counter()
            time.sleep(1.5)
            wall = time.perf_counter() - began
            used = [sum(one.cpu_times()[:2]) - at for one, at in zip(workers, before, strict=True)]
        assert all(0 < each < 0.7 * wall for each in used)
        assert all(one.status() != psutil.STATUS_STOPPED for one in workers)
        process.communicate()
