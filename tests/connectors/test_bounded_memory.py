"""A file three times as large takes no more memory to read."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

_READ = """
import sys
from pathlib import Path
from pipeline.connectors.delimited import DelimitedSource
from pipeline.connectors.json_documents import JsonSource
from pipeline.connectors.line_protocol import LineMapping, LineProtocolSource
from pipeline.connectors.mapping import RowMapping

kind, path = sys.argv[1:]
channels = {"t": {"dtype": "float64"}}
fields = {"device": "d", "time": {"columns": "time", "unit": "s"}, "channels": channels}
if kind == "lines":
    told = {"device": "d", "precision": "s", "channels": channels}
    source = LineProtocolSource(path, LineMapping.model_validate(told))
else:
    make = {"csv": DelimitedSource, "documents": JsonSource}[kind]
    source = make(path, RowMapping.model_validate(fields))


def peak():  # what getrusage tells includes the process that started this one
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


before = peak()
rows = sum(intake.table.num_rows for fragment in source.fragments() for intake in fragment.read())
print(rows, peak() - before)
"""

WRITERS: dict[str, tuple[str, Callable[[int], str]]] = {
    "lines": ("", lambda at: f"m,d=d{at % 9} t={at % 1000}.5 {at}"),
    "csv": ("d,time,t\n", lambda at: f"d{at % 9},{at},{at % 1000}.5"),
    "documents": ("", lambda at: json.dumps({"d": f"d{at % 9}", "time": at, "t": at % 1000})),
}


def peak_of(kind: str, path: Path, rows: int) -> int:
    head, line = WRITERS[kind]
    with gzip.open(path, "wt", compresslevel=1) as stream:
        stream.write(head)
        for begin in range(0, rows, 10_000):
            stream.write("".join(f"{line(at)}\n" for at in range(begin, begin + 10_000)))
    done = subprocess.run(
        [sys.executable, "-c", _READ, kind, str(path)], check=True, capture_output=True, text=True
    )
    found, peak = map(int, done.stdout.split())
    assert found == rows
    return peak


@pytest.mark.parametrize("kind", WRITERS)
def test_memory_does_not_grow_with_the_file(tmp_path: Path, kind: str) -> None:
    few = 70_000 if kind == "documents" else 800_000  # two blocks of text or more
    small = peak_of(kind, tmp_path / "small.gz", few)
    large = peak_of(kind, tmp_path / "large.gz", 3 * few)
    assert large < 1.5 * small, (small, large)
