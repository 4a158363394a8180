from __future__ import annotations

import gzip
import pickle
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.connectors.delimited import DelimitedSource
from pipeline.connectors.mapping import RowMapping
from pipeline.errors import InvalidInputError, NotFoundError
from pipeline.model.ports import Fragment, Intake, Source

MAPPING = RowMapping.model_validate(
    {
        "device": "node",
        "time": {"columns": "time", "unit": "s"},
        "channels": {
            "t": {
                "column": "temp",
                "dtype": "float64",
                "units": "degC",
                "missing": ["-999", "n/a"],
            },
            "state": {"dtype": "category"},
            "door": {"dtype": "bool"},
        },
    }
)
HEADER = "node,time,temp,state,door\n"


def source(folder: Path, text: str | bytes, **options: Any) -> DelimitedSource:
    path = folder / "data.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return DelimitedSource(path, options.pop("mapping", MAPPING), **options)


def read_all(found: DelimitedSource) -> tuple[pa.Table, list[tuple[str, str]], int]:
    """Return the rows, the rejected lines with their reasons, and the number of ignored lines."""
    intakes: list[Intake] = [i for fragment in found.fragments() for i in fragment.read()]
    tables = [intake.table for intake in intakes]
    rows = pa.concat_tables([found.arrow_schema().empty_table(), *tables]).unify_dictionaries()
    pairs = [
        pair for i in intakes for pair in zip(i.rejects.records, i.rejects.reasons, strict=True)
    ]
    return rows, pairs, sum(intake.ignored for intake in intakes)


def test_rows_of_a_clean_file(tmp_path: Path) -> None:
    text = HEADER + "a,1,21.5,on,true\nb,2,,off,0\n\na,3.25,-999,,\n"
    rows, rejects, ignored = read_all(source(tmp_path, text))
    assert rows["device"].to_pylist() == ["a", "b", "a"]
    assert rows["time"].cast(pa.int64()).to_pylist() == [1_000_000, 2_000_000, 3_250_000]
    assert rows["t"].to_pylist() == [21.5, None, None]
    assert rows["state"].to_pylist() == ["on", "off", None]
    assert rows["door"].to_pylist() == [True, False, None]
    assert rejects == []
    assert ignored == 2


def test_every_dirty_line_is_kept_whole_with_its_reason(tmp_path: Path) -> None:
    bad = [
        ("a,2,21.5", "3 fields where 5 are expected"),
        ("a,3,21.5,on,1,extra", "6 fields"),
        (",4,21.5,on,1", "device is missing"),
        ("a,,21.5,on,1", "time is missing"),
        ("a,noon,21.5,on,1", "time 'noon' is not a decimal number of seconds"),
        ("a,6,warm,on,1", "channel 't' takes a number (float64), and 'warm' is none"),
        ("a,7,1,on,maybe", "channel 'door' takes true or false"),
        ('a,8,1,"on,1', "quotes do not close"),
        ("a,9,1,on,1 \udcff", "not valid utf-8"),
    ]
    lines = ["a,1,1,on,1", *(line for line, _ in bad), "a,10,1,on,1"]
    text = (HEADER + "\r\n".join(lines)).encode("utf-8", "surrogateescape")
    rows, rejects, ignored = read_all(source(tmp_path, text))
    assert rows["time"].cast(pa.int64()).to_pylist() == [1_000_000, 10_000_000]
    assert [line for line, _ in rejects[:-1]] == [line for line, _ in bad[:-1]]
    assert rejects[-1][0] == r"a,9,1,on,1 \xff"
    assert all(words in why for (_, words), (_, why) in zip(bad, rejects, strict=True))
    assert (rows.num_rows, len(rejects), ignored) == (2, len(bad), 1)


def test_declared_noise_is_counted_but_not_kept(tmp_path: Path) -> None:
    text = "made by X\n# start\n" + HEADER + "# again\n  \na,1,1,on,1\nboot 7\na,2,1,on,1\n"
    found = source(tmp_path, text, skip_lines=1, comment="#", ignore="^boot")
    rows, rejects, ignored = read_all(found)
    assert (rows.num_rows, rejects, ignored) == (2, [], 6)


def test_fields_may_be_quoted_and_padded(tmp_path: Path) -> None:
    text = HEADER + 'a,1,21.5,"on, or ""off""",1\n b , 2 , 5 , plain "x" , 0\n"c", 3, "7",,\n'
    rows, rejects, _ = read_all(source(tmp_path, text))
    assert rejects == []
    assert rows["device"].to_pylist() == ["a", "b", "c"]
    assert rows["state"].to_pylist() == ['on, or "off"', 'plain "x"', None]
    assert rows["t"].to_pylist() == [21.5, 5.0, 7.0]


@pytest.mark.parametrize(
    ("separator", "line"),
    [(";", "a;1;2.5;on;1"), ("\t", "a\t1\t2.5\ton\t1"), ("::", "a::1::2.5::on::1"),
     ("whitespace", "  a 1   2.5\ton 1 "), ("|", "a|1|2.5|on|1")],
)  # fmt: skip
def test_separators(tmp_path: Path, separator: str, line: str) -> None:
    names = HEADER.strip().replace(",", " " if separator == "whitespace" else separator)
    rows, rejects, _ = read_all(source(tmp_path, f"{names}\n{line}\n", separator=separator))
    assert rejects == []
    assert rows.drop_columns(["time"]).to_pylist() == [
        {"device": "a", "t": 2.5, "state": "on", "door": True}
    ]


def test_decimal_comma(tmp_path: Path) -> None:
    text = HEADER.replace(",", ";") + "a;1;2,5;on;1\na;2;2.5;on;1\n"
    rows, rejects, _ = read_all(source(tmp_path, text, separator=";", decimal=","))
    assert rows["t"].to_pylist() == [2.5]
    assert rejects[0][0] == "a;2;2.5;on;1"


def test_columns_may_be_declared_without_or_instead_of_a_header(tmp_path: Path) -> None:
    names = tuple(HEADER.strip().split(","))
    line = "a,1,2,on,1\n"
    rows, _, ignored = read_all(source(tmp_path, line, header=False, columns=names))
    assert (rows.num_rows, ignored) == (1, 0)
    rows, _, ignored = read_all(source(tmp_path, "A,B,C,D,E\n" + line, columns=names))
    assert (rows.num_rows, ignored) == (1, 1)


def test_encodings(tmp_path: Path) -> None:
    line = "Küche,1,2,état,1\n"
    for encoding in ("latin-1", "cp1252", "utf-8"):
        rows, _, _ = read_all(source(tmp_path, (HEADER + line).encode(encoding), encoding=encoding))
        assert rows["device"].to_pylist() == ["Küche"]
        assert rows["state"].to_pylist() == ["état"]
    marked = b"\xef\xbb\xbf" + (HEADER + line).encode()
    assert read_all(source(tmp_path, marked))[0].num_rows == 1
    hole = HEADER.encode() + b"a\x81,1,2,on,1\nb,1,2,on,1\n"
    rows, rejects, _ = read_all(source(tmp_path, hole, encoding="cp1252"))
    assert rows["device"].to_pylist() == ["b"]
    assert "not valid cp1252" in rejects[0][1]
    rows, rejects, _ = read_all(source(tmp_path, (HEADER + line).encode(), encoding="ascii"))
    assert (rows.num_rows, len(rejects)) == (0, 1)


def test_log_lines_by_pattern(tmp_path: Path) -> None:
    mapping = RowMapping.model_validate(
        {
            "device": "mote-{node}",
            "time": {"columns": ["day", "clock"], "timezone": "Europe/Rome"},
            "channels": {"rssi": {"dtype": "int8"}, "status": {"dtype": "uint8", "base": 16}},
        }
    )
    text = (
        "2024-07-01 12:00:00 node 7: RSSI -90 dBm, status 0x2f\n"
        "2024-07-01 12:00:01 hello\n"
        "2024-07-01 12:00:02 node 8: RSSI -900 dBm, status 0x00\n"
        "gibberish\n"
    )
    pattern = (
        r"^(?P<day>\S+) (?P<clock>\S+) node (?P<node>\d+): RSSI (?P<rssi>\S+) dBm, "
        r"status (?P<status>\w+)$"
    )
    found = source(tmp_path, text, mapping=mapping, pattern=pattern, ignore="hello$")
    rows, rejects, ignored = read_all(found)
    assert rows["device"].to_pylist() == ["mote-7"]
    assert str(rows["time"][0]) == "2024-07-01 10:00:00+00:00"
    assert rows["status"].to_pylist() == [47]
    assert [why for _, why in rejects] == [
        "channel 'rssi' takes int8, from -128 to 127, and -900 is outside",
        "the line does not match the pattern",
    ]
    assert ignored == 1


def test_compressed_files_and_globs(tmp_path: Path) -> None:
    (tmp_path / "1.csv.gz").write_bytes(gzip.compress((HEADER + "a,1,1,on,1\n").encode()))
    (tmp_path / "2.csv.gz").write_bytes(gzip.compress((HEADER + "b,2,2,on,1").encode()))
    found = DelimitedSource(str(tmp_path / "*.csv.gz"), MAPPING, piece_bytes=5)
    assert [Path(fragment.name).name for fragment in found.fragments()] == ["1.csv.gz", "2.csv.gz"]
    rows, rejects, ignored = read_all(found)
    assert (rows["device"].to_pylist(), rejects, ignored) == (["a", "b"], [], 2)


def test_files_behind_a_url() -> None:
    system = fsspec.filesystem("memory")
    for name in ("a", "b"):
        system.pipe(f"/delimited/{name}.csv", (HEADER + f"{name},1,1,on,1\n").encode())
    found = DelimitedSource("memory://delimited/*.csv", MAPPING, piece_bytes=20)
    assert found.fragments()[0].name.startswith("memory://")
    rows, rejects, ignored = read_all(found)
    assert (rows["device"].to_pylist(), rejects, ignored) == (["a", "b"], [], 2)


@pytest.mark.parametrize("text", ["", "\n", HEADER, HEADER.strip(), "# nothing\n" + HEADER])
def test_files_without_rows_count_their_lines(tmp_path: Path, text: str) -> None:
    rows, rejects, ignored = read_all(source(tmp_path, text, comment="#"))
    assert (rows.num_rows, rejects, ignored) == (0, [], len(text.splitlines()))


@pytest.mark.parametrize("piece", [1, 7, 20, 33, 64, 10_000])
def test_pieces_of_a_file_are_the_file(tmp_path: Path, piece: int) -> None:
    lines = [f"n{i},{i},{i}.5,on,1" if i % 5 else "# comment" for i in range(40)]
    text = "skipped\n" + HEADER + "\n".join(lines)
    found = source(tmp_path, text, piece_bytes=piece, skip_lines=1, comment="#")
    rows, rejects, ignored = read_all(found)
    assert rows["device"].to_pylist() == [f"n{i}" for i in range(40) if i % 5]
    assert (rejects, ignored) == ([], 10)
    names = [fragment.name for fragment in found.fragments()]
    assert len(set(names)) == len(names)


lines = st.text(
    st.characters(codec="latin-1", exclude_characters="\n"), max_size=12
) | st.sampled_from(["a,1,2,on,1", "b,2,x,,", '"a",3,,"q""q",', "#", "", "a,4,1e3,\udcff,1"])


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
@given(st.lists(lines), st.integers(1, 60), st.booleans())
def test_every_physical_line_is_counted_once(
    tmp_path: Path, found: list[str], piece: int, ends: bool
) -> None:
    text = "".join(f"{line}\n" for line in [HEADER.strip(), *found])
    data = (text if ends else text[:-1]).encode("utf-8", "surrogateescape")
    rows, rejects, ignored = read_all(source(tmp_path, data, piece_bytes=piece, comment="#"))
    physical = data.count(b"\n") + (not data.endswith(b"\n"))
    assert rows.num_rows + len(rejects) + ignored == physical


def test_sources_and_fragments_are_ports_and_can_be_sent_to_workers(tmp_path: Path) -> None:
    found = source(tmp_path, HEADER + "a,1,2,on,1\n")
    fragment = pickle.loads(pickle.dumps(found)).fragments()[0]
    assert isinstance(found, Source)
    assert isinstance(fragment, Fragment)
    assert pickle.loads(pickle.dumps(fragment)).name == fragment.name
    assert next(fragment.read()).table.num_rows == 1
    assert found.tags() == {}
    assert found.arrow_schema().field("t").metadata == {b"units": b"degC"}
    assert next(fragment.read()).table.schema.equals(found.arrow_schema())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"header": False}, "declare the names"),
        ({"header": False, "columns": ["node", "time"]}, r"needs each of \['temp'"),
        ({"decimal": ","}, "decimal mark"),
        ({"decimal": ""}, "decimal mark"),
        ({"separator": ""}, "separator"),
        ({"quote": "''"}, "quote"),
        ({"skip_lines": -1}, "positive"),
        ({"encoding": "utf-16"}, "convert to UTF-8"),
        ({"encoding": "klingon"}, "convert to UTF-8"),
        ({"ignore": "("}, "RE2"),
        ({"pattern": "(?P<node>"}, "RE2"),
        ({"pattern": r"(\d+)"}, "groups are named"),
        ({"pattern": r"(?P<node>\d+)"}, "in the pattern"),
    ],
)
def test_wrong_options_are_refused_when_declared(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        DelimitedSource("data.csv", MAPPING, **options)


def test_files_that_do_not_fit_the_declaration(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no file found at"):
        DelimitedSource(tmp_path / "none-*.csv", MAPPING).fragments()
    with pytest.raises(InvalidInputError, match=r"data.csv.*\['A', 'B'\]"):
        read_all(source(tmp_path, "A,B\n1,2\n"))
    with pytest.raises(InvalidInputError, match=r"header .* cannot be split"):
        read_all(source(tmp_path, '"node,time\n1,2\n'))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    with path.open("wb") as file:
        file.write(HEADER.encode())
        file.truncate(80 * 1024 * 1024)
    with pytest.raises(InvalidInputError, match="no text file"):
        read_all(DelimitedSource(path, MAPPING))
