"""Every notebook runs from top to bottom and says what it promises; what is stored of it is small."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from tests.notebooks import running
from tests.notebooks.running import FOLDER, names, outputs, read, run, slim, text_of

PROMISES: Final = {
    "changing_schema": [
        "versions 3 and 4: backward: yes, forward: no",
        "SchemaError: channel 'visitors'",
        "answers as before: True",
        "rows appended meanwhile: ",
    ],
    "exploring_a_fleet": ["duplicates dropped", "pruned"],
    "operating": ["corrupt nodes/raw/", "set aside: nodes/raw/", "clean: False"],
    "quickstart": ["to 1", "append to rooms"],
    "rollups_on_a_cluster": [
        "as this process alone answers, to the last bit: True",
        "every exact percentile lies between its bounds: True",
    ],
    "what_compression_does": ["columns came back, bit for bit", "this archive"],
}
"""What each notebook has to say, whatever its data is."""

PICTURES: Final = {
    "changing_schema": 2,
    "exploring_a_fleet": 6,
    "operating": 3,
    "quickstart": 1,
    "rollups_on_a_cluster": 3,
    "what_compression_does": 3,
}

MOST_BYTES: Final = 400_000
INDEXED: Final = 3
"""The colour type, in byte 25 of a PNG file, of pictures with a palette."""
PLACE: Final = re.compile(
    r"(?<![\w.:/])/(?:home|root|tmp|var|work|usr|opt|mnt|Users|private)/|[A-Z]:\\\\|0x[0-9a-f]{6,}"
)
"""Paths of a machine, and addresses in its memory."""


def check(name: str, notebook: Any) -> None:
    """Check what a notebook showed."""
    told = text_of(notebook)
    for promise in PROMISES[name]:
        assert promise in told
    assert sum(map(_is_picture, outputs(notebook))) == PICTURES[name]
    assert [one["text"] for one in outputs(notebook) if one.get("name") == "stderr"] == []


@pytest.mark.filterwarnings("default")  # the kernel's own libraries warn about what is not ours
@pytest.mark.parametrize("name", names())
def test_notebook(name: str, tmp_path: Path) -> None:
    check(name, run(name, tmp_path))


@pytest.mark.real_data
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", names())
def test_notebook_of_real_data(name: str, tmp_path: Path, real_data: Path) -> None:
    check(name, run(name, tmp_path, real_data=real_data))


@pytest.mark.parametrize("name", names())
class TestStored:
    def test_it_was_run_in_order_and_shows_what_it_promises(self, name: str) -> None:
        notebook = read(name)
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
        check(name, notebook)

    def test_it_is_small(self, name: str) -> None:
        assert (FOLDER / f"{name}.ipynb").stat().st_size < MOST_BYTES

    def test_it_tells_nothing_of_the_machine(self, name: str) -> None:
        notebook = read(name)
        assert notebook.metadata.language_info == {"name": "python"}
        for one in outputs(notebook):
            words = {key: value for key, value in one.get("data", {}).items() if "image" not in key}
            assert not PLACE.findall(json.dumps([words, one.get("text", "")]))

    def test_its_pictures_have_few_colours(self, name: str) -> None:
        pictures = [one["data"]["image/png"] for one in outputs(read(name)) if _is_picture(one)]
        for data in map(base64.b64decode, pictures):
            assert data[:8] == b"\x89PNG\r\n\x1a\n"
            assert data[25] == INDEXED

    def test_every_picture_and_table_is_explained(self, name: str) -> None:
        kinds = [cell.cell_type for cell in read(name).cells]
        assert kinds[0] == "markdown"
        assert kinds.count("markdown") > 0.4 * len(kinds)


class TestTheRunner:
    @pytest.mark.filterwarnings("default")
    def test_a_warning_is_an_error(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        source = "import warnings\nwarnings.warn('mind the gap', stacklevel=1)"
        _store(source, tmp_path, monkeypatch)
        with pytest.raises(CellExecutionError, match="mind the gap"):
            run("one", tmp_path)

    @pytest.mark.filterwarnings("default")
    def test_it_knows_the_data_and_tells_in_one_piece_what_was_printed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _store(
            "import os, time\n"
            "print('data', end=' ', flush=True)\n"
            "time.sleep(0.5)\n"
            "print(os.environ.get('IOT_ARCHIVE_REAL_DATA'))",
            tmp_path,
            monkeypatch,
        )
        monkeypatch.setenv("IOT_ARCHIVE_REAL_DATA", "not asked for")
        assert text_of(run("one", tmp_path)) == "data None\n"
        assert text_of(run("one", tmp_path, real_data=Path("here"))) == "data here\n"

    @pytest.mark.parametrize(
        ("told", "is_place"),
        [
            ("archive in /tmp/x/archive", True),
            ("'/home/ann/data'", True),
            ("<matplotlib.axis.YTick at 0x7fe3581be5d0>", True),
            ("corrupt nodes/raw/time/c/1/0", False),
            ("s3://bucket/var/x", False),
        ],
        ids=["a folder", "a home", "an object", "a key", "a bucket"],
    )
    def test_what_is_a_place(self, told: str, *, is_place: bool) -> None:
        assert bool(PLACE.search(told)) == is_place

    def test_what_is_kept(self) -> None:
        page = {"text/html": "<p>" * 9000, "text/plain": "a page"}
        small = {"text/html": "<table/>", "text/plain": "a table"}
        results = [_result(page), _result(small), _result(_PIXEL | {"text/plain": "a pixel"})]
        cells = [_cell("1", results)]
        notebook = slim(nbformat.from_dict(_notebook(cells)))  # type: ignore[no-untyped-call]
        told = [output["data"] for output in outputs(notebook)]
        assert told[:2] == [{"text/plain": "a page"}, small]
        assert base64.b64decode(told[2]["image/png"])[25] == INDEXED
        assert [output["execution_count"] for output in outputs(notebook)] == [1, 1, 1]
        assert notebook.cells[0].id == "cell-0"
        assert not notebook.cells[0].metadata


_PIXEL: Final = {
    "image/png": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNgYPgPAAEDAQAIicLsAAAAAElFTkSu"
    "QmCC"
}
"""A picture of one pixel in true colours."""


def _store(source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "FOLDER", folder)
    text = json.dumps(_notebook([_cell(source)]))
    (folder / "one.ipynb").write_text(text, encoding="utf-8")


def _is_picture(output: Any) -> bool:
    return "image/png" in output.get("data", {})


def _result(data: dict[str, str]) -> dict[str, object]:
    return {"output_type": "execute_result", "execution_count": 7, "data": data, "metadata": {}}


def _cell(source: str, results: Sequence[dict[str, object]] = ()) -> dict[str, object]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": "a",
        "metadata": {"tags": ["x"]},
        "outputs": list(results),
        "source": source,
    }


def _notebook(cells: Sequence[dict[str, object]]) -> dict[str, object]:
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {
        "cells": list(cells),
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
