"""Rules W1 and J7: an overview tells all that a cache holds and does, in bounded number."""

from collections.abc import Hashable

import orjson

from hermes_cache.explain import overview as explain_overview
from hermes_cache.explain.explaining import Moment
from hermes_cache.explain.overview import Overview, overview_of
from hermes_cache.explain.plain import plain_overview
from tests.simulation.core_script import CoreScript, target_of

HERE = target_of("here", watched=True)
THERE = target_of("there", watched=True)


def overview(script: CoreScript) -> Overview:
    def served(key: Hashable) -> dict[str, int]:
        return {"hit": 2} if key == HERE.key else {}

    now = Moment(script.now_s, 50.0)
    return overview_of(script.state, script.policy, now, incarnation="ours", served=served)


def test_an_overview_tells_of_each_key_that_is_held_or_being_built() -> None:
    """W1, J7"""
    script = CoreScript()
    script.hold(HERE)
    script.read(THERE)

    found = overview(script)

    assert [(entry.key, entry.condition) for entry in found.entries] == [
        (HERE.key, "fresh"),
        (THERE.key, "missing"),
    ]
    assert found.entries[0].served == {"hit": 2}
    assert [(each.key, each.build.outcome) for each in found.builds] == [
        (THERE.key, "running"),
        (HERE.key, "stored"),
    ]


def test_an_overview_tells_of_events_streams_and_scopes() -> None:
    """W1, J7, H1"""
    script = CoreScript()
    script.hold(HERE)
    script.start_stream("turn", "here")
    event = script.invalidate()
    script.now_s += 1.0

    found = overview(script)

    (stream,) = found.streams
    assert (stream.stream_id, stream.profile) == ("turn", "here")
    assert stream.ends_in_s == script.policy.stream_lease - 1.0
    assert found.events[0].event.id == event.id
    assert [(scope.name, scope.check_age_s, scope.failure) for scope in found.scopes] == [("here", 1.0, None)]


def test_an_overview_tells_who_waited_for_a_build_and_whom_it_could_not_answer() -> None:
    """J7, B4"""
    script = CoreScript()
    script.read(HERE)
    script.read(HERE)
    first = script.running(HERE)
    script.invalidate()
    script.read(HERE)

    script.finish(first)

    running, overtaken = [each.build for each in overview(script).builds]
    assert (overtaken.outcome, overtaken.waited, overtaken.sent_on) == ("discarded", 3, 1)
    assert (running.outcome, running.waited, running.sent_on) == ("running", 1, 0)


def test_an_overview_is_json_with_the_names_of_views_and_their_fields() -> None:
    """W1"""
    script = CoreScript()
    script.hold(HERE, (("state.db", "caf\udce9"),))
    script.read(THERE)
    script.fail(script.running(THERE), OSError("caf\udce9"))

    plain = orjson.loads(orjson.dumps(plain_overview(overview(script))))

    entry = plain["entries"][0]
    assert (entry["key"], entry["view"]["profile"], entry["condition"]) == ("profile here", "here", "fresh")
    assert {"stamp", "builds", "events"}.isdisjoint(entry)
    assert [(build["key"], build["why"]) for build in plain["builds"]] == [
        ("profile there", "OSError: caf?"),
        ("profile here", None),
    ]
    assert plain["scopes"][0]["held_back"] == []
    assert (plain["incarnation"], plain["ttl_s"], plain["streaming_ttl_s"]) == ("ours", 2.5, 10.0)
    assert plain["left_out"] == {"entries": 0, "builds": 0, "streams": 0, "scopes": 0}


def test_an_overview_is_bounded_and_says_what_it_leaves_out() -> None:
    """W1"""
    script = CoreScript()
    script.hold(HERE)
    for number in range(1_000):
        script.start_stream(f"turn-{number}", "here")

    found = overview(script)

    assert len(found.streams) == explain_overview._MOST
    assert found.left_out["streams"] == 1_000 - explain_overview._MOST
