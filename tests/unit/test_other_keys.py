"""The law holds for keys of any kind: here invoices of customers, named by pairs of a customer and a year (K5)."""

from hermes_cache.core.requests import Freshness
from hermes_cache.core.state import Target
from hermes_cache.core.versions import ALL_PROFILES
from hermes_cache.errors import LookupTimeoutError
from tests.simulation.core_script import CoreScript, content

_ACME = Target(("acme", 2026), "acme", "acme", watched=True)
_OTHER = Target(("other", 2026), "other", "other", watched=True)
_EVERYBODY = Target(2026, "everybody", ALL_PROFILES, watched=True)


def test_one_build_answers_all_readers_of_a_key() -> None:
    """R5, B1"""
    script = CoreScript()

    reads = [script.read(_ACME) for _ in range(3)]
    script.finish(script.running(_ACME), made := content())

    assert [script.served(read).entry.content for read in reads] == [made] * 3


def test_an_event_outdates_its_owners_keys_and_those_of_everybody() -> None:
    """V1"""
    script = CoreScript()
    for target in (_ACME, _OTHER, _EVERYBODY):
        script.hold(target, (("table", 1),))

    script.invalidate("acme")
    reads = [script.read(target, Freshness.ANY) for target in (_ACME, _OTHER, _EVERYBODY)]
    outcomes = [script.served(read).outcome for read in reads]

    assert outcomes == ["outdated", "hit", "outdated"]


def test_a_build_that_an_event_overtook_answers_nobody_who_came_after_it() -> None:
    """R1, B4"""
    script = CoreScript()
    before = script.read(_ACME)
    build = script.running(_ACME)

    script.invalidate("acme")
    after = script.read(_ACME, timeout_s=5.0)
    script.finish(build, content(version=1))
    script.wait(5.0)

    assert script.served(before).overtaken_by is not None
    assert isinstance(script.answers[after.reader], LookupTimeoutError)
