"""Line protocol: what is written is read, and every line is accounted for."""

from __future__ import annotations

import gzip
import math
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.connectors.line_protocol import LineMapping, LineProtocolSource, read_lines
from pipeline.connectors.line_protocol.grammar import parse_line
from pipeline.connectors.mapping import DeviceMapping
from pipeline.errors import InvalidInputError, NotFoundError
from pipeline.model.ports import Fragment, Intake, Source

CHANNELS: dict[str, Any] = {
    "t": {"dtype": "float64", "units": "degC"},
    "n": {"dtype": "int64"},
    "u": {"dtype": "uint64"},
    "ok": {"dtype": "bool"},
    "note": {"dtype": "category"},
}


def declared(**told: Any) -> LineMapping:
    return LineMapping.model_validate(
        {"device": "id", "channels": CHANNELS, "precision": "us", **told}
    )


MAPPING = declared(tags=("site",))
TOGETHER = 40  # so many lines of one form are read as columns, not one by one

plain_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"))
names = st.text(
    st.one_of(
        st.sampled_from(',= "\\#\x1f'),
        st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"),
    ),
    min_size=1,
).filter(lambda text: not text.endswith("\\"))
rows = st.fixed_dictionaries(
    {"id": names, "time": st.integers(-(2**61), 2**61)},
    optional={
        "site": names,
        "t": st.floats(allow_nan=False, allow_infinity=False),
        "n": st.integers(-(2**63), 2**63 - 1),
        "u": st.integers(0, 2**64 - 1),
        "ok": st.booleans(),
        "note": plain_text,
    },
).filter(lambda row: len(row.keys() & CHANNELS.keys()) > 0)


def escaped(name: str) -> str:
    return re.sub(r"([,= ])", r"\\\1", name)


def written(name: str, value: Any) -> str:
    if name == "t":
        return repr(value)
    if name == "ok":
        return "true" if value else "F"
    if name == "note":
        text = str(value).replace("\\", "\\\\").replace('"', '\\"')
        return f'"{text}"'
    return f"{value}{'i' if name == 'n' else 'u'}"


def line_of(row: dict[str, Any]) -> str:
    tags = [f"{name}={escaped(row[name])}" for name in ("id", "site") if name in row]
    fields = [f"{name}={written(name, row[name])}" for name in CHANNELS if name in row]
    return f"{','.join(['weather', *tags])} {','.join(fields)} {row['time']}"


def values_of(intake: Intake) -> list[dict[str, Any]]:
    table = intake.table.rename_columns(["id", *intake.table.column_names[1:]])
    plain = table.set_column(1, "time", table["time"].cast(pa.int64()))
    return [{k: v for k, v in row.items() if v is not None} for row in plain.to_pylist()]


@given(st.lists(rows, max_size=8), st.sampled_from([1, TOGETHER]))
def test_rows_that_are_written_are_read_again(made: list[dict[str, Any]], times: int) -> None:
    data = "".join(f"{line_of(row)}\n" for row in made for _ in range(times))
    intake = read_lines(data.encode(), MAPPING)
    assert intake.rejects.reasons == ()
    expected = [{k: v for k, v in row.items() if k != "site"} for row in made for _ in range(times)]
    assert values_of(intake) == expected
    sites: dict[str, dict[str, str]] = {}
    for row in made:
        if "site" in row:
            sites.setdefault(row["id"], {"site": row["site"]})
    assert intake.tags == sites


ODD = st.text(st.sampled_from('ab,= "\\1i.t#\t\x1f\ré-'), max_size=14)
NEARLY = st.builds(
    lambda tags, fields, tail: f"m{tags} {fields}{tail}",
    st.sampled_from(["", ",id=a", ",id=a,b=c", ",id=", ",id=a,id=b", "\\,x,id=a", ",id=a\\ b"]),
    st.sampled_from(['t=1', 'note="x, y=\\"z\\""', 'a=1,n=1i,b="q', 'a="",t=1', "n=1i,n=2i", 't="']),
    st.sampled_from(["", " 5", " 5 ", " x", "  5", ",", ' "', "=1 5", '"', '\\" 5']),
)  # fmt: skip


@given(st.lists(ODD | NEARLY, min_size=1, max_size=5))
def test_lines_together_mean_what_each_means_alone(lines: list[str]) -> None:
    mapping = MAPPING.model_copy(update={"device": DeviceMapping(column="measurement")})
    alone = [read_lines(line.encode() + b"\n", mapping, arrived=7) for line in lines]
    data = "".join(f"{line}\n" * TOGETHER for line in lines).encode()
    together = read_lines(data, mapping, arrived=7)
    expected = [row for intake in alone for row in values_of(intake) * TOGETHER]
    assert values_of(together) == expected
    assert together.ignored == TOGETHER * sum(intake.ignored for intake in alone)
    reasons = [why for intake in alone for why in intake.rejects.reasons * TOGETHER]
    assert list(together.rejects.reasons) == reasons
    assert together.table.num_rows + together.ignored + len(reasons) == TOGETHER * len(lines)


@pytest.mark.parametrize("times", [1, TOGETHER])
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("weather,id=a", "no fields"),
        (",id=a t=1 5", "no measurement"),
        ("weather,id t=1 5", "'id' is not a key and a value"),
        ("weather,id= t=1 5", "'id=' is not a key and a value"),
        ("weather,id=a,id=b t=1 5", "tag 'id' is given twice"),
        ("weather,id=a t 5", "no field"),
        ("weather,id=a t=1,t=2 5", "field 't' is given twice"),
        ('weather,id=a note="x 5', "no field"),
        ('weather,id=a note="x"y 5', "followed by 'y 5'"),
        ("weather,id=a t=1 noon", "'noon' is not a whole number"),
        ("weather,id=a t=1 1.5", "'1.5' is not a whole number"),
        ("weather,id=a t=1 99999999999999999999", "not a whole number of 64 bits"),
        ("weather,id=a t=1", "time is missing"),
        ("weather,site=x t=1 5", "no tag 'id'"),
        ("weather,id=a other=1 5", "none of the fields"),
        ("weather,id=a t=NaN 5", "takes a number"),
        ("weather,id=a t=+1 5", "takes a number"),
        ("weather,id=a t=0x1i 5", "no integer"),
        ('weather,id=a t="x" 5', "takes a number"),
        ("weather,id=a t=9007199254740993i 5", "float64"),
        ("weather,id=a n=1.5 5", "int64"),
        ("weather,id=a n=1.5i 5", "no integer of 64 bits"),
        ("weather,id=a n=9223372036854775808i 5", "int64"),
        ("weather,id=a u=-1u 5", "takes a number"),
        ("weather,id=a ok=yes 5", "takes true or false"),
        ("weather,id=a note=x 5", "in quotes"),
    ],
)
def test_lines_that_cannot_be_rows_are_kept_whole_with_the_reason(
    line: str, reason: str, times: int
) -> None:
    good = b"weather,id=a t=1.5 5\n"
    data = good + f"{line}\n".encode() * times + good
    intake = read_lines(data, MAPPING, "file.lp")
    assert intake.rejects.records == (line,) * times
    assert all(reason in why for why in intake.rejects.reasons), intake.rejects.reasons[0]
    assert intake.rejects.source == "file.lp"
    assert intake.table["t"].to_pylist() == [1.5, 1.5]


def test_comments_blank_lines_and_other_measurements_are_ignored() -> None:
    data = (
        b"# made by hand\n\n  \t\n  # more\r\nweather,id=a t=1 5\r\ncpu,id=a t=2 5\n"
        + b"cpu,id=a t=2 5\n" * TOGETHER
        + b"weather,id=a t=3 6"
    )
    mapping = MAPPING.model_copy(update={"measurements": ("weather",)})
    intake = read_lines(data, mapping)
    assert intake.table["t"].to_pylist() == [1.0, 3.0]
    assert intake.ignored == 5 + TOGETHER
    assert len(intake.rejects) == 0


def test_lines_without_a_wanted_field_may_be_ignored() -> None:
    data = b"weather,id=a t=1 5\nweather,id=a other=1 5\n"
    mapping = MAPPING.model_copy(update={"other_fields": "ignore"})
    intake = read_lines(data, mapping)
    assert (intake.table.num_rows, intake.ignored, len(intake.rejects)) == (1, 1, 0)


def test_bytes_that_are_no_text_reject_their_line_only() -> None:
    data = b"weather,id=a t=1 5\nweather,id=\xff t=1 5\n\n# x\nweather,id=b t=2 5\n"
    intake = read_lines(data, MAPPING)
    assert intake.table["device"].to_pylist() == ["a", "b"]
    assert intake.rejects.records == (r"weather,id=\xff t=1 5",)
    assert intake.rejects.reasons == ("the line is not valid utf-8",)
    assert intake.ignored == 2


def test_numbers_of_every_kind_go_where_nothing_is_lost() -> None:
    lines = ["t=5i", "t=5u", "t=1.5", "n=7", "n=7u", "u=18446744073709551615u", "t=1e3,n=-7i"]
    data = "".join(f"weather,id=a {fields} {at}\n" for at, fields in enumerate(lines))
    intake = read_lines(data.encode(), MAPPING)
    assert intake.rejects.reasons == ()
    assert intake.table["t"].to_pylist() == [5.0, 5.0, 1.5, None, None, None, 1000.0]
    assert intake.table["n"].to_pylist() == [None, None, None, 7, 7, None, -7]
    assert intake.table["u"].to_pylist()[5] == 2**64 - 1


def test_scales_and_marks_of_missing_values() -> None:
    channels = {"t": {"column": "raw", "dtype": "float64", "scale": 0.01, "missing": ["-200"]}}
    mapping = declared(channels=channels, precision="s")
    data = b"m,id=a raw=2358i 1\nm,id=a raw=-200i 2\nm,id=a raw=-200 3\nm,id=a raw=1.5i 4\n"
    intake = read_lines(data, mapping)
    assert intake.table["t"].to_pylist() == [23.58, None, None]
    assert len(intake.rejects) == 1
    words = declared(channels={"w": {"dtype": "category", "missing": ["-"]}})
    found = read_lines(b'm,id=a w="-" 1\nm,id=a w="" 2\n', words)
    assert found.table["w"].to_pylist() == [None, ""]


@pytest.mark.parametrize(
    ("precision", "number", "microseconds"),
    [("s", 2, 2_000_000), ("ms", 2, 2000), ("us", 2, 2), ("ns", 1_700_000_000_000_002_000, 1_700_000_000_000_002)],
)  # fmt: skip
def test_precisions(precision: Any, number: int, microseconds: int) -> None:
    mapping = MAPPING.model_copy(update={"precision": precision})
    table = read_lines(f"w,id=a t=1 {number}".encode(), mapping).table
    assert table["time"].cast(pa.int64()).to_pylist() == [microseconds]


def test_digits_below_the_microsecond_are_refused_or_dropped_as_declared() -> None:
    data = b"w,id=a t=1 1700000000000000001\n"
    mapping = MAPPING.model_copy(update={"precision": "ns"})
    assert "below the microsecond" in read_lines(data, mapping).rejects.reasons[0]
    floor = mapping.model_copy(update={"subsecond": "floor"})
    table = read_lines(data, floor).table
    assert table["time"].cast(pa.int64()).to_pylist() == [1_700_000_000_000_000]


def test_lines_without_a_time_take_that_of_their_arrival() -> None:
    intake = read_lines(b"w,id=a t=1\nw,id=a t=2 9\n", MAPPING, arrived=5)
    assert intake.table["time"].cast(pa.int64()).to_pylist() == [5, 9]


def test_devices_from_templates_and_measurements() -> None:
    mapping = declared(device="{site}/{measurement}")
    lines = [f"m{at % 2},site=s,measurement=x t=1 {at}" for at in range(TOGETHER)]
    lines += [f"m{at % 2},site=s t=1 {at}" for at in range(TOGETHER)]
    intake = read_lines("\n".join(lines).encode(), mapping)
    devices = intake.table["device"].to_pylist()
    assert devices == ["s/x"] * TOGETHER + ["s/m0", "s/m1"] * (TOGETHER // 2)


def test_nothing_at_all() -> None:
    intake = read_lines(b"", MAPPING)
    assert (intake.table.num_rows, len(intake.rejects), intake.ignored) == (0, 0, 0)
    assert intake.table.schema.equals(MAPPING.arrow_schema())
    assert parse_line("") is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": {}}, "exactly one of"),
        ({"channels": {}}, "at least 1"),
        ({"channels": {"t": {"dtype": "int8", "base": 16}}}, "leave base out"),
        ({"channels": {"time": {"dtype": "int8"}}}, "time"),
        ({"precision": "h"}, "'ns'"),
        ({"measurement": "m"}, "measurement"),
    ],
)
def test_declarations_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        declared(**options)


def file_of(folder: Path, lines: int = 1000) -> Path:
    path = folder / "a.lp"
    path.write_text("".join(f"w,id=d{at % 3} t={at}.5 {at}\n" for at in range(lines)))
    return path


@pytest.mark.parametrize("piece_bytes", [1, 100, 999, 10**9])
def test_pieces_of_a_file_hold_each_line_once(tmp_path: Path, piece_bytes: int) -> None:
    path = file_of(tmp_path, 200)
    source = LineProtocolSource(path, MAPPING, piece_bytes=piece_bytes)
    fragments = source.fragments()
    assert len({fragment.name for fragment in fragments}) == len(fragments)
    found = [value for f in fragments for i in f.read() for value in i.table["t"].to_pylist()]
    assert found == [at + 0.5 for at in range(200)]


def test_a_source_is_a_port_and_reads_compressed_files(tmp_path: Path) -> None:
    path = file_of(tmp_path)
    packed = tmp_path / "b.lp.gz"
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbf" + path.read_bytes()))
    source = LineProtocolSource(packed, MAPPING, piece_bytes=100)
    fragments = pickle.loads(pickle.dumps(source.fragments()))
    assert isinstance(source, Source)
    assert isinstance(fragments[0], Fragment)
    assert len(fragments) == 1
    total = math.fsum(np.sum(i.table["t"].to_numpy()) for i in fragments[0].read())
    assert total == sum(at + 0.5 for at in range(1000))
    assert source.tags() == {}
    assert source.arrow_schema().field("t").metadata == {b"units": b"degC"}


def test_sources_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        LineProtocolSource(tmp_path / "none.lp", MAPPING).fragments()
    with pytest.raises(InvalidInputError, match="piece_bytes"):
        LineProtocolSource(tmp_path, MAPPING, piece_bytes=0)
