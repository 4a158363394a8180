"""YAML, overrides and the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import JobError
from pipeline.jobs.documents import apply_overrides, expand_environment, read_document


def read(tmp_path: Path, text: str) -> Any:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    return read_document(path)


class TestReading:
    def test_times_stay_texts(self, tmp_path: Path) -> None:
        document = read(tmp_path, "start: 2025-01-01T00:00:00Z\nday: 2025-01-01\n")
        assert document == {"start": "2025-01-01T00:00:00Z", "day": "2025-01-01"}

    def test_anchors_and_merges_work(self, tmp_path: Path) -> None:
        document = read(tmp_path, "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n")
        assert document["b"] == {"x": 1, "y": 3}

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("a: [1, 2", r"job.yaml, line 1, column \d+: not valid YAML"),
            ("a: 1\nb: 2\na: 3\n", r"line 1, column 1: not valid YAML: key 'a' is given twice"),
            ("a: !!python/object:os.system {}", "not valid YAML"),
            ("a: *nowhere", "not valid YAML"),
            ("a: \x00", "not valid YAML"),
        ],
    )
    def test_what_is_wrong_is_said_in_one_line(self, tmp_path: Path, text: str, said: str) -> None:
        with pytest.raises(JobError, match=said) as caught:
            read(tmp_path, text)
        assert "\n" not in str(caught.value)

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(JobError, match=r"nowhere.yaml: no such job file"):
            read_document(tmp_path / "nowhere.yaml")

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(JobError, match=r"cannot be read: Is a directory"):
            read_document(tmp_path)

    def test_a_file_that_is_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "job.yaml").write_bytes(b"a: \xff\xfe")
        with pytest.raises(JobError, match="cannot be read"):
            read_document(tmp_path / "job.yaml")


class TestOverrides:
    document: dict[str, Any] = {"archive": "a", "steps": [{"import": {"n": 1}}, {"report": None}]}  # noqa: RUF012

    def change(self, *overrides: str) -> Any:
        return apply_overrides(self.document, overrides)

    def test_values_are_yaml(self) -> None:
        assert self.change("archive=b")["archive"] == "b"
        assert self.change("steps.0.import.n=10")["steps"][0] == {"import": {"n": 10}}
        assert self.change("steps.0.import.n=[a, {b: 1}]")["steps"][0]["import"]["n"] == [
            "a",
            {"b": 1},
        ]
        assert self.change("archive=")["archive"] is None
        assert self.change("archive=a=b")["archive"] == "a=b"

    def test_keys_and_levels_that_are_not_there_are_made(self) -> None:
        assert self.change("x.y.z=1")["x"] == {"y": {"z": 1}}
        assert self.change("steps.1.report.title=A")["steps"][1] == {"report": {"title": "A"}}

    def test_later_ones_win_and_the_document_stays(self) -> None:
        assert self.change("archive=b", "archive=c")["archive"] == "c"
        assert self.document["archive"] == "a"

    @pytest.mark.parametrize(
        ("override", "said"),
        [
            ("archive", "write it as path=value"),
            ("=3", "write it as path=value"),
            ("archive.x=3", "archive holds no keys, but 'a'"),
            ("steps.7.import=3", "'7' is no position in a list of 2"),
            ("steps.first=3", "'first' is no position in a list of 2"),
            ("archive=[1", "override 'archive', line 1"),
        ],
    )
    def test_what_is_wrong_is_said(self, override: str, said: str) -> None:
        with pytest.raises(JobError, match=said):
            self.change(override)

    def test_a_document_without_keys_takes_none(self) -> None:
        with pytest.raises(JobError, match="the file holds no keys"):
            apply_overrides(None, ["a=1"])


class TestEnvironment:
    def expand(self, text: Any, **environment: str) -> Any:
        return expand_environment(text, environment)[0]

    @pytest.mark.parametrize(
        ("text", "expanded"),
        [
            ("${A}/x", "one/x"),
            ("${A}${A}", "oneone"),
            ("${B:-two}", "two"),
            ("${A:-two}", "one"),
            ("${EMPTY:-two}", "two"),
            ("${EMPTY}", ""),
            ("${B:-}", ""),
            ("$$A $${A}", "$A ${A}"),
            ("$A", "$A"),
        ],
    )
    def test_forms(self, text: str, expanded: str) -> None:
        assert self.expand(text, A="one", EMPTY="") == expanded

    def test_every_text_at_every_depth_but_no_key(self) -> None:
        document = {"${A}": ["${A}", {"x": "${A}"}, 1, None]}
        assert self.expand(document, A="one") == {"${A}": ["one", {"x": "one"}, 1, None]}

    def test_names_of_all_variables_are_returned(self) -> None:
        assert expand_environment(["${A}", "${B:-x}"], {"A": ""})[1] == {"A", "B"}

    def test_an_unset_variable(self) -> None:
        with pytest.raises(JobError, match="environment variable B is not set"):
            self.expand("${B}")

    @pytest.mark.parametrize("text", ["${B-x}", "${", "${}", "${1}"])
    def test_other_forms_are_refused(self, text: str) -> None:
        with pytest.raises(JobError, match=r"write variables as \$\{NAME\}"):
            self.expand(text, B="")
