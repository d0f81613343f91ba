"""From a request for a list to its answer, on a thread that may wait or on an event loop that must not.

Source: rules W4, D4, O7.
"""

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any, Final, Unpack

from hermes_cache.cache.list_cache import ListCache
from hermes_cache.cache.lookups import Patch, Rendered
from hermes_cache.cache.reads import ReadOptions
from hermes_cache.core.events import EventId
from hermes_cache.errors import HermesCacheError
from hermes_cache.integrations.answers import Answer, Asked, answer_to, failure_answer, freshness_headers
from hermes_cache.integrations.negotiation import edition_of
from hermes_cache.integrations.view_query import ParameterError
from hermes_cache.payload.frozen import Json

READ_TIMEOUT_S: Final = 30.0
"""So long a request waits for its list; proxies wait for a minute."""

Envelope = Mapping[str, Json] | None
"""Fields that a body gets behind its own. They are no part of its tag, and patches do not have them (O7)."""


def answer(
    cache: ListCache[Any], key: Hashable, asked: Asked, envelope: Envelope = None, **options: Unpack[ReadOptions]
) -> Answer:
    """Answer a request: with the list, with what changed in it, with 304, or with the error."""
    try:
        _check(options)
        found: Patch | Rendered | None = None
        if asked.since:
            found = cache.patch(key, since=edition_of(asked.since), **options)
        if found is None or (envelope and isinstance(found, Rendered)):
            found = cache.render(key, envelope=envelope, **options)
    except HermesCacheError as error:
        return failure_answer(error)
    made = answer_to(found, asked, freshness_headers(found), is_weak=bool(envelope))
    if made.to_compress is None:
        return made
    of, coding = made.to_compress
    return replace(made, body=of.encoded(coding), to_compress=None)


async def aanswer(
    cache: ListCache[Any], key: Hashable, asked: Asked, envelope: Envelope = None, **options: Unpack[ReadOptions]
) -> Answer:
    """Do what `answer` does without blocking the event loop."""
    try:
        _check(options)
        found = await aread(cache, key, asked.since, envelope, **options)
    except HermesCacheError as error:
        return failure_answer(error)
    return await awhole(cache, answer_to(found, asked, freshness_headers(found), is_weak=bool(envelope)))


def _check(options: ReadOptions) -> None:
    """Refuse a ticket that is none: it mostly comes from the client."""
    ticket = options.get("at_least")
    if ticket is not None:
        try:
            EventId.parse(ticket)
        except ValueError:
            raise ParameterError("at_least", ticket, "a ticket, as a publisher got it") from None


async def aread(
    cache: ListCache[Any],
    key: Hashable,
    since: str | None,
    envelope: Envelope = None,
    **options: Unpack[ReadOptions],
) -> Patch | Rendered:
    """Return a list, or what changed in it since an edition or its tag; raises what `get` raises."""
    found: Patch | Rendered | None = None
    if since:
        found = await cache.apatch(key, since=edition_of(since), **options)
    if found is None or (envelope and isinstance(found, Rendered)):
        found = await cache.arender(key, envelope=envelope, **options)
    return found


async def awhole(cache: ListCache[Any], made: Answer) -> Answer:
    """Return an answer with its body, which is compressed on a thread if it must be."""
    if made.to_compress is None:
        return made
    return replace(made, body=await cache.aencoded(*made.to_compress), to_compress=None)
