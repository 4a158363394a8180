"""Topic templates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.connectors.payloads import TopicTemplate
from pipeline.connectors.payloads import topics as topics_module
from pipeline.errors import InvalidInputError


@pytest.mark.parametrize(
    ("template", "topic", "found"),
    [
        ("plants/{site}/{device}/telemetry", "plants/ghent/p4/telemetry", ("ghent", "p4")),
        ("plants/{site}/{device}/telemetry", "plants/ghent/p4/telemetry/x", None),
        ("plants/{site}/{device}/telemetry", "plants//p4/telemetry", None),
        ("shellies/shellyht-{id}/+/#", "shellies/shellyht-1/sensor/t", ("1",)),
        ("shellies/shellyht-{id}/+/#", "shellies/shellyht-1/sensor", ("1",)),
        ("shellies/shellyht-{id}/+/#", "shellies/other-1/sensor", None),
        ("v3/{app}@ttn/up", "v3/hast@ttn/up", ("hast",)),
        ("a.b/{x}", "a.b/1", ("1",)),
        ("a.b/{x}", "aXb/1", None),
        ("#", "anything/at/all", ()),
        ("", "anything", ()),
        ("{x}", "line\nfeed", ("line\nfeed",)),
    ],
)
def test_topics_match(template: str, topic: str, found: tuple[str, ...] | None) -> None:
    kind = TopicTemplate(template)
    if template:
        assert kind.match(topic) == found
    read = kind.read([topic, "no match!", topic])
    expected = dict(zip(kind.names, found, strict=True)) if found else {}
    assert {name: read.texts[name][2].as_py() for name in expected} == expected
    assert (0 in read.strangers.tolist()) == (found is None)


@pytest.mark.parametrize(
    ("template", "filter_"),
    [
        ("plants/{site}/{device}/telemetry", "plants/+/+/telemetry"),
        ("shellies/shellyht-{id}/+/#", "shellies/+/+/#"),
        ("", "#"),
    ],
)
def test_templates_tell_what_to_subscribe_to(template: str, filter_: str) -> None:
    assert TopicTemplate(template).filter == filter_


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("a/{", "names in braces"),
        ("a/{b-c}", "names in braces"),
        ("{a}/{a}", "a name occurs twice"),
        ("{a}{b}", "cannot be told apart"),
        ("a/b+", "levels of their own"),
        ("a/#/b", "the last level"),
    ],
)
def test_templates_that_cannot_be_are_refused(template: str, problem: str) -> None:
    with pytest.raises(InvalidInputError, match=problem):
        TopicTemplate(template)


@given(st.lists(st.text(st.characters(exclude_characters="/"), min_size=1), min_size=2, max_size=2))
def test_names_are_read_as_they_were_written(parts: list[str]) -> None:
    assert TopicTemplate("x/{a}/y-{b}").match(f"x/{parts[0]}/y-{parts[1]}") == tuple(parts)


def test_memory_of_topics_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics_module, "_REMEMBERED", 10)
    template = TopicTemplate("{x}")
    for number in range(100):
        assert template.match(str(number)) == (str(number),)
    assert len(template._known) <= 10
