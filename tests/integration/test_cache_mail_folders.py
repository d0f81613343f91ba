"""The whole cache with another kind of key and of list: mail folders, each of an account (K5)."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import orjson
import pytest

from hermes_cache import BuildError, Bus
from hermes_cache.cache.list_cache import ListCache
from tests.waiting import LASTING


@dataclass(frozen=True)
class Folder:
    """A folder of an account; without an account, that folder of all."""

    name: str
    account: str | None = None


class Mails:
    """A builder that counts how often it is asked for each folder."""

    def __init__(self) -> None:
        self.builds: Counter[Folder] = Counter()
        self.mails: list[object] = [{"uid": 1, "subject": "Hello"}, {"uid": 2, "subject": "Again"}]

    def __call__(self, folder: Folder) -> Mapping[str, object]:
        self.builds[folder] += 1
        return {"folder": folder.name, "mails": self.mails, "unread": len(self.mails)}


_ANN, _BOB, _ALL = Folder("inbox", "ann"), Folder("inbox", "bob"), Folder("inbox")


@pytest.fixture
def mails() -> Mails:
    return Mails()


@pytest.fixture
def cache(mails: Mails) -> Iterator[ListCache[Folder]]:
    cache: ListCache[Folder] = ListCache(
        mails, profile_of=lambda folder: folder.account, rows="mails", row_id="uid", bus=Bus(), policy=LASTING
    )
    with cache:
        yield cache


def test_a_folder_is_built_once_and_read_from_memory(cache: ListCache[Folder], mails: Mails) -> None:
    """K5, R2"""
    payloads = [cache.get(_ANN) for _ in range(3)]

    assert payloads[0] == {"folder": "inbox", "mails": mails.mails, "unread": 2}
    assert payloads[0] is payloads[1] is payloads[2]
    assert mails.builds == {_ANN: 1}


def test_nothing_is_added_to_rows_and_they_keep_their_order(cache: ListCache[Folder], mails: Mails) -> None:
    """K5, O6"""
    rendered = cache.render(_ANN)

    assert orjson.loads(rendered.body) == {"folder": "inbox", "mails": mails.mails, "unread": 2}
    assert rendered.etag == cache.render(_ANN).etag


def test_an_event_outdates_the_folders_of_its_account_and_those_of_everybody(
    cache: ListCache[Folder], mails: Mails
) -> None:
    """K5, V1"""
    for folder in (_ANN, _BOB, _ALL):
        cache.get(folder)

    cache.invalidate("ann")
    for folder in (_ANN, _BOB, _ALL):
        cache.get(folder)

    assert mails.builds == {_ANN: 2, _BOB: 1, _ALL: 2}


def test_without_profiles_all_events_touch_every_key(mails: Mails) -> None:
    """K5"""
    with ListCache[Folder](mails, rows="mails", row_id="uid", policy=LASTING) as cache:
        for folder in (_ANN, _BOB):
            cache.get(folder)
        cache.invalidate("somebody")
        cache.get(_ANN)

    assert mails.builds == {_ANN: 2, _BOB: 1}


def test_keys_reach_the_builder_as_they_were_given(mails: Mails) -> None:
    """K5: two that differ by an alias are two entries, and one event outdates both."""
    root, alias = Folder("inbox", "default"), Folder("inbox", "me")
    cache: ListCache[Folder] = ListCache(
        mails,
        profile_of=lambda folder: folder.account,
        is_root_profile=lambda name: name == "me",
        policy=LASTING,
    )
    with cache:
        for folder in (root, alias):
            cache.get(folder)
        cache.invalidate("me")
        for folder in (root, alias):
            cache.get(folder)

    assert mails.builds == {root: 2, alias: 2}


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ([{"subject": "no id"}], r"mails\[0\] has no 'uid'"),
        ([{"uid": 1}, {"uid": 1}], "earlier row"),
        ([7], "uid"),
    ],
    ids=["none", "twice", "no mapping"],
)
def test_rows_without_an_id_of_their_own_fail_the_build(
    cache: ListCache[Folder], mails: Mails, rows: list[object], what: str
) -> None:
    """K5"""
    mails.mails = rows

    with pytest.raises(BuildError, match=what):
        cache.get(_ANN)


def test_what_profile_of_raises_is_the_error_of_the_read(mails: Mails) -> None:
    """K5"""

    def profile_of(folder: Folder) -> str | None:
        raise LookupError(folder.name)

    with ListCache[Folder](mails, profile_of=profile_of) as cache, pytest.raises(LookupError, match="inbox"):
        cache.get(_ANN)


def test_a_payload_may_be_one_piece(mails: Mails) -> None:
    """K5"""
    with ListCache[Folder](mails) as cache:
        rendered = cache.render(_ANN)

    assert orjson.loads(rendered.body) == {"folder": "inbox", "mails": mails.mails, "unread": 2}


def test_a_cache_of_any_list_has_a_bus_of_its_own(mails: Mails) -> None:
    """K5"""
    with ListCache[Folder](mails, policy=LASTING) as one, ListCache[Folder](mails, policy=LASTING) as other:
        for cache in (one, other):
            cache.get(_ANN)
        one.invalidate()
        outcomes = [cache.lookup(_ANN).outcome for cache in (one, other)]

    assert outcomes == ["built", "hit"]


def test_worker_processes_build_any_list() -> None:
    """K5, B8"""
    cache: ListCache[Folder] = ListCache(
        "tests.integration.mail_folders:build", rows="mails", row_id="uid", executor="processes"
    )
    with cache:
        body, payload = cache.render(_ANN).body, cache.get(_ANN)

    assert orjson.loads(body) == payload == {"mails": [{"uid": 1}], "folder": "inbox"}
