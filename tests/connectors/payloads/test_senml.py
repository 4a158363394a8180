"""SenML: the examples of RFC 8428, and packs that cannot be read."""

from __future__ import annotations

import json
import re
from typing import Any

import cbor2
import pytest

from tests.connectors.payloads.saying import RECEIVED, decode, reasons_of, rows_of, say

NUMBER = {"dtype": "float64"}


def senml(pack: Any, **mapping: Any) -> Any:
    text = pack if isinstance(pack, str) else json.dumps(pack)
    options = {"mapping": {"channels": {"voltage": NUMBER, "current": NUMBER}, **mapping}}
    return decode("senml_json", options, [say("x", text)])


MULTIPLE = """[
  {"bn":"urn:dev:ow:10e2073a0108006:","bt":1.276020076001e+09,
   "bu":"A","bver":5,
   "n":"voltage","u":"V","v":120.1},
  {"n":"current","t":-5,"v":1.2},
  {"n":"current","t":-4,"v":1.3},
  {"n":"current","t":-3,"v":1.4},
  {"n":"current","t":-2,"v":1.5},
  {"n":"current","t":-1,"v":1.6},
  {"n":"current","v":1.7}
]"""


def test_the_example_of_several_measurements_of_section_5_1_3() -> None:
    decoded = senml(MULTIPLE, tags={"unit of the first": "unit"})
    base = 1_276_020_076_001_000
    first = {"device": "urn:dev:ow:10e2073a0108006", "time": base}
    assert rows_of(decoded) == [
        first | {"voltage": 120.1, "current": 1.7},
        *(
            first | {"time": base - seconds * 1_000_000, "current": value}
            for seconds, value in ((5, 1.2), (4, 1.3), (3, 1.4), (2, 1.5), (1, 1.6))
        ),
    ]
    assert decoded.tags == {"urn:dev:ow:10e2073a0108006": {"unit of the first": "V"}}


def test_the_single_measurement_of_section_5_1_1_has_no_name_but_the_devices() -> None:
    options = {
        "mapping": {
            "device": "name",
            "channel": "",
            "value": "",
            "channels": {"temperature": {**NUMBER, "column": "value"}},
        }
    }
    pack = '[{"n":"urn:dev:ow:10e2073a01080063","u":"Cel","v":23.1}]'
    decoded = decode("senml_json", options, [say("x", pack)])
    assert rows_of(decoded) == [
        {"device": "urn:dev:ow:10e2073a01080063", "time": RECEIVED, "temperature": 23.1}
    ]


CBOR = (
    "87a721781b75726e3a6465763a6f773a3130653230373361303130383030363a22fb41d303a15b00106223614120050067766f"
    "6c7461676501615602fb405e066666666666a3006763757272656e74062402fb3ff3333333333333a3006763757272656e7406"
    "2302fb3ff4cccccccccccda3006763757272656e74062202fb3ff6666666666666a3006763757272656e74062102f93e00a300"
    "6763757272656e74062002fb3ff999999999999aa3006763757272656e74060002fb3ffb333333333333"
)
"""`MULTIPLE` in CBOR (compare section 6 of the RFC)."""


def test_cbor_says_the_same_as_json() -> None:
    options = {"mapping": {"channels": {"voltage": NUMBER, "current": NUMBER}}}
    pack = json.loads(MULTIPLE)
    labels = {"bn": -2, "bt": -3, "bu": -4, "bver": -1, "n": 0, "u": 1, "v": 2, "t": 6}
    made = cbor2.dumps([{labels[key]: value for key, value in record.items()} for record in pack])
    decoded = decode("senml_cbor", options, [say("x", made)])
    assert rows_of(decoded) == rows_of(senml(MULTIPLE))
    quoted = decode("senml_cbor", options, [say("x", bytes.fromhex(CBOR))])
    assert rows_of(quoted) == rows_of(senml(MULTIPLE))


def test_values_and_sums_add_to_their_bases() -> None:
    pack = [
        {"bn": "d:", "bv": 100, "bs": 10.5, "n": "voltage", "v": 1.5},
        {"n": "current", "s": 2},
        {"n": "voltage", "vs": "text", "t": 1},
    ]
    mapping = {"channel": "", "value": "", "channels": {
        "value": NUMBER, "sum": NUMBER}, "device": "name"}  # fmt: skip
    decoded = senml(pack, **mapping)
    assert rows_of(decoded) == [
        {"device": "d:voltage", "time": RECEIVED, "value": 101.5, "sum": 10.5},
        {"device": "d:current", "time": RECEIVED, "value": 100.0, "sum": 12.5},
    ]
    assert "and 'text' is none" in reasons_of(decoded)[0]


def test_small_times_count_from_now() -> None:
    pack = [
        {"bn": "d:", "bt": -2.5, "n": "current", "v": 1},
        {"n": "current", "v": 2, "t": -1},
        {"n": "current", "v": 3, "bt": 2**28 - 1},
        {"n": "current", "v": 4, "bt": 2**28},
    ]
    times = [row["time"] for row in rows_of(senml(pack))]
    assert times == [
        RECEIVED - 2_500_000,
        RECEIVED - 3_500_000,
        RECEIVED + (2**28 - 1) * 1_000_000,
        2**28 * 1_000_000,
    ]


@pytest.mark.parametrize(
    ("pack", "reason"),
    [
        ({"n": "a", "v": 1}, "not a SenML pack: an array"),
        ([1], "not a SenML pack: an array"),
        ([{"n": "a", "v": 1, "bver": 11}], "version 11; known is 10"),
        ([{"n": "a", "v": 1, "new_": 1}], r"fields \['new_'\] have to be understood"),
        ([{"bn": 5, "v": 1}], r"base fields \['bn'\] are of the wrong type"),
        ([{"n": "a", "v": "1"}], "SenML field 'v' is of the wrong type"),
        ([{"n": "a", "vb": 1}], "SenML field 'vb' is of the wrong type"),
        ([{"v": 1}], "'' is no SenML name"),
        ([{"n": "a b", "v": 1}], "'a b' is no SenML name"),
        ([{"n": "a", "v": 1, "vb": True}], "needs one value or a sum"),
        ([{"n": "a"}], "needs one value or a sum"),
        ([{"bn": "d:", "n": "current", "u": "mA", "v": 1}], "has unit 'mA', not 'A'"),
    ],
)
def test_what_is_no_senml_is_kept_with_the_reason(pack: Any, reason: str) -> None:
    decoded = senml(pack, units={"current": "A"})
    assert decoded.table.num_rows == 0
    (reject,) = decoded.rejects
    assert reject.message.payload == json.dumps(pack).encode()
    assert re.search(reason, reject.reason)


def test_a_bad_record_does_not_take_its_pack_with_it() -> None:
    pack = [{"bn": "d:", "n": "voltage", "v": 1}, {"n": "voltage"}, {"n": "current", "v": 2}]
    decoded = senml(pack)
    assert rows_of(decoded) == [{"device": "d", "time": RECEIVED, "voltage": 1.0, "current": 2.0}]
    assert (
        "1 of its 3 records are not stored, first: SenML record 'd:voltage'"
        in reasons_of(decoded)[0]
    )


@pytest.mark.parametrize(
    ("pack", "reason"),
    [
        ([{-2: "d:", -3: float("inf"), 0: "voltage", 2: 1}], "base time inf is no time"),
        ([{-2: "d:", 6: float("nan"), 0: "voltage", 2: 1}], "'d:voltage' has time nan"),
    ],
)
def test_times_of_cbor_have_to_be_finite(pack: Any, reason: str) -> None:
    options = {"mapping": {"channels": {"voltage": NUMBER}}}
    decoded = decode("senml_cbor", options, [say("x", cbor2.dumps(pack))])
    assert reason in reasons_of(decoded)[0]
