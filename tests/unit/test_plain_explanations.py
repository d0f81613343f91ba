"""Rule J7: an explanation as JSON, whatever its stamp holds."""

from collections.abc import Hashable

import orjson
import pytest

from hermes_cache.explain.explaining import Moment, explain
from hermes_cache.explain.plain import plain_explanation
from tests.simulation.core_script import CoreScript, target_of

HERE = target_of("here", watched=True)


def plain_of(script: CoreScript) -> dict[str, object]:
    told = explain(script.state, HERE, script.policy, Moment(script.now_s, 50.0), served={"hit": 2})
    return plain_explanation(told)


def test_an_explanation_is_shown_by_the_names_of_its_fields() -> None:
    """J7"""
    script = CoreScript()
    script.start_stream("turn", "here")
    script.hold(HERE, took_s=0.5)
    event = script.invalidate()
    script.read(HERE)

    plain = orjson.loads(orjson.dumps(plain_of(script)))

    assert plain["key"]["profile"] == "here"
    assert (plain["at_s"], plain["condition"], plain["age_s"], plain["served"]) == (
        50.0,
        "outdated",
        0.0,
        {"hit": 2},
    )
    assert plain["stamp"] == {"streams": {"stream_ids": ["turn"], "moves": 1}}
    assert plain["events"][0] == {
        "kind": "session_list_changed", "id": str(event.id), "at_s": 0.0, "reason": "session_changed",
        "touched": None, "is_foreign": True, "is_unseen": True,
    }  # fmt: skip
    assert plain["builds"][0] == {
        "id": 2, "reason": "event", "began_at_s": 50.0, "took_s": 0.0, "outcome": "running", "why": None,
        "overtaken_by": None, "waited": 1, "sent_on": 0,
    }  # fmt: skip


def test_what_overtook_and_what_failed_is_shown_as_text() -> None:
    """J7, B4, R7"""
    script = CoreScript()
    script.read(HERE)
    script.fail(script.running(HERE), OSError("caf\udce9"))
    script.read(HERE)
    event = script.invalidate()

    plain = orjson.loads(orjson.dumps(plain_of(script)))

    assert (plain["failure"], plain["overtaken_by"]) == ("caf?", str(event.id))
    assert [build["overtaken_by"] for build in plain["builds"]] == [str(event.id), None]
    assert plain["builds"][1]["why"] == "OSError: caf?"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, None), (True, True), (7, 7), (0.5, 0.5), ("caf\udce9", "caf?"), ((1, ("a",)), [1, ["a"]]),
        (2**70, str(2**70)), (float("nan"), "nan"), (frozenset({1}), "frozenset({1})"), (b"x", "b'x'"),
    ],
)  # fmt: skip
def test_a_part_of_a_stamp_may_hold_anything(value: Hashable, told: object) -> None:
    """J7, S1"""
    script = CoreScript()
    script.hold(HERE, (("part", value),))

    stamp = orjson.loads(orjson.dumps(plain_of(script)["stamp"]))

    assert stamp["part"] == told
