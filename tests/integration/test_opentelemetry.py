"""Rules R9, B2 and B8: reads that build, and builds, are traced, also across threads and processes."""

import asyncio
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hermes_cache import BuildError, Policy, SessionListCache, SessionListKey
from hermes_cache.integrations.opentelemetry import HermesCacheInstrumentor
from hermes_cache.testing import GatedBuilder, ManualClock
from hermes_cache.tracing import tracing
from tests.waiting import WAIT_S, until

WORK = SessionListKey("work")


class Spans:
    """What is traced in this process."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("the gateway")

    def named(self, name: str) -> list[ReadableSpan]:
        """Return the spans of a name that ended, in the order in which they did."""
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    @property
    def reads(self) -> list[ReadableSpan]:
        """The reads."""
        return self.named("hermes_cache.read")

    @property
    def builds(self) -> list[ReadableSpan]:
        """The builds; one ends a moment after its readers were answered."""
        return self.named("hermes_cache.build")

    def wait_for_builds(self, count: int) -> list[ReadableSpan]:
        """Wait until so many builds ended, and return them."""
        until(lambda: len(self.builds) >= count)
        return self.builds


@pytest.fixture
def spans() -> Iterator[Spans]:
    """The spans of a program that traces its caches."""
    found, instrumentor = Spans(), HermesCacheInstrumentor()
    instrumentor.instrument(tracer_provider=found.provider)
    yield found
    instrumentor.uninstrument()


def parent_of(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    found: int = span.context.span_id
    return found


def of(span: ReadableSpan, *names: str) -> tuple[object, ...]:
    attributes = span.attributes or {}
    return tuple(attributes.get(f"hermes_cache.{name}") for name in names)


def traced(key: SessionListKey) -> Mapping[str, object]:
    """Return what a builder finds around it."""
    current = trace.get_current_span().get_span_context()
    carried = baggage.get_baggage("tenant")
    return {"sessions": [], "trace": f"{current.trace_id:x}", "span": f"{current.span_id:x}", "pid": os.getpid(),
            "tenant": carried, "profile": key.profile}  # fmt: skip


def test_a_read_that_builds_is_a_child_of_its_caller_and_its_build_a_child_of_the_read(spans: Spans) -> None:
    """R9, B2"""
    with SessionListCache(traced) as cache, spans.tracer.start_as_current_span("GET /api/sessions") as caller:
        token = context.attach(baggage.set_baggage("tenant", "anna"))
        payload = cache.get(WORK)
        context.detach(token)
        [read], [build] = spans.reads, spans.wait_for_builds(1)

    assert parent_of(read) == caller.get_span_context().span_id
    assert parent_of(build) == id_of(read)
    assert (payload["span"], payload["tenant"]) == (f"{id_of(build):x}", "anna")
    assert of(read, "key", "outcome", "reason", "build_id") == ("profile work", "built", "miss", 1)
    assert of(build, "key", "reason", "build_id") == ("profile work", "miss", 1)


def test_a_hit_is_not_traced(spans: Spans) -> None:
    """R2"""
    with SessionListCache(traced, policy=Policy(ttl=600)) as cache:
        cache.get(WORK)
        spans.wait_for_builds(1)
        for _ in range(3):
            cache.get(WORK)
        # Judged in the mailbox, and a hit all the same.
        cache.invalidate("other")
        outcome = cache.lookup(WORK).outcome

    assert outcome == "hit"
    assert len(spans.reads) == 1


def test_a_stale_read_and_its_build_in_the_background_are_joined(spans: Spans) -> None:
    """R3"""
    clock = ManualClock()
    with SessionListCache(traced, clock=clock, policy=Policy(max_build_duty=1)) as cache:
        cache.get(WORK)
        spans.wait_for_builds(1)
        clock.advance(10.0)
        cache.get(WORK)
        _, build = spans.wait_for_builds(2)

    [_, read] = spans.reads
    assert of(read, "outcome", "reason") == ("stale", "age")
    assert parent_of(build) == id_of(read)


def test_readers_that_wait_for_one_build_each_have_a_span_and_one_is_its_parent(spans: Spans) -> None:
    """R5"""
    builder = GatedBuilder()
    with SessionListCache(builder) as cache, ThreadPoolExecutor(3) as readers:
        asked = [readers.submit(cache.get, WORK) for _ in range(3)]
        until(lambda: cache.stats().waiting == 3)
        builder.open()
        for each in asked:
            each.result(WAIT_S)
        [build] = spans.wait_for_builds(1)
        until(lambda: len(spans.reads) == 3)

    assert sorted(of(read, "outcome", "build_id") for read in spans.reads) == [
        ("built", 1),
        ("waited", 1),
        ("waited", 1),
    ]
    assert parent_of(build) in {id_of(read) for read in spans.reads}


def test_the_build_that_follows_one_that_was_overtaken_is_a_child_of_the_read_that_waits_for_it(
    spans: Spans,
) -> None:
    """B4"""
    builder = GatedBuilder()
    with SessionListCache(builder) as cache, ThreadPoolExecutor(2) as readers:
        first = readers.submit(cache.get, WORK)
        until(lambda: builder.waiting == 1)
        cache.invalidate("work")
        second = readers.submit(cache.get, WORK)
        until(lambda: cache.stats().waiting == 2)
        builder.open()
        first.result(WAIT_S)
        second.result(WAIT_S)
        _, build = spans.wait_for_builds(2)
        until(lambda: len(spans.reads) == 2)

    [later] = [read for read in spans.reads if of(read, "build_id") == (2,)]
    assert parent_of(build) == id_of(later)
    assert of(build, "reason") == ("event",)
    assert of(later, "overtaken") == (True,)


def test_a_failure_stands_in_both_spans(spans: Spans) -> None:
    """R7"""
    builder = GatedBuilder(is_open=True)
    builder.fail_with(OSError("gone"))
    with SessionListCache(builder) as cache:
        with pytest.raises(BuildError):
            cache.get(WORK)
        [read], [build] = spans.reads, spans.wait_for_builds(1)

    assert [span.status.status_code for span in (read, build)] == [trace.StatusCode.ERROR] * 2
    assert (read.attributes or {})["error.type"] == "BuildError"
    assert (build.attributes or {})["error.type"] == "OSError"
    assert build.status.description == "gone"


def test_reads_on_an_event_loop_are_traced_in_their_task(spans: Spans) -> None:
    """W4, B2"""

    async def build(_key: SessionListKey) -> Mapping[str, object]:
        await asyncio.sleep(0)
        return traced(_key)

    async def ask(cache: SessionListCache, name: str) -> str:
        with spans.tracer.start_as_current_span(name) as caller:
            payload = await cache.aget(SessionListKey(name))
            assert payload["trace"] == f"{caller.get_span_context().trace_id:x}"
            return str(payload["trace"])

    async def ask_both() -> list[str]:
        async with SessionListCache(build) as cache:
            return list(await asyncio.gather(ask(cache, "one"), ask(cache, "two")))

    one, two = asyncio.run(ask_both())

    assert one != two
    assert len(spans.reads) == 2


def test_the_trace_goes_along_into_a_worker_process(spans: Spans) -> None:
    """B8"""
    with SessionListCache(traced, executor="processes") as cache:
        with spans.tracer.start_as_current_span("GET /api/sessions") as caller:
            token = context.attach(baggage.set_baggage("tenant", "anna"))
            payload = cache.get(WORK)
            context.detach(token)
        [build] = spans.wait_for_builds(1)

    assert payload["pid"] != os.getpid()
    assert (payload["trace"], payload["tenant"]) == (f"{caller.get_span_context().trace_id:x}", "anna")
    # No program was told where the worker's spans go, so the worker's own is that of the build.
    assert payload["span"] == f"{id_of(build):x}"


def with_sdk(key: SessionListKey) -> Mapping[str, object]:
    """Trace in a worker whose program says where spans go, and return what was traced in it so far."""
    found = _worker_spans()
    with found.tracer.start_as_current_span("read files"):
        payload = traced(key)
    ended = [
        {"name": span.name, "span": f"{id_of(span):x}", "parent": f"{parent_of(span):x}", "call": of(span, "call")}
        for name in ("read files", "hermes_cache.worker")
        for span in found.named(name)
    ]
    return {**payload, "ended": ended}


_found: list[Spans] = []


def _worker_spans() -> Spans:
    if not _found:
        _found.append(Spans())
        trace.set_tracer_provider(_found[0].provider)
    return _found[0]


def test_what_a_worker_process_traces_belongs_to_the_build(spans: Spans) -> None:
    """B8"""
    with SessionListCache(with_sdk, executor="processes", policy=Policy(pool_size=1)) as cache:
        cache.get(WORK)
        # Now the worker has a provider; what it traced of this read is told by the next.
        cache.get(SessionListKey("second"))
        told = cache.get(SessionListKey("third"))
        _, second, third = spans.wait_for_builds(3)

    ended = told["ended"]
    assert isinstance(ended, list)
    worker = [each for each in ended if each["name"] == "hermes_cache.worker"]
    assert [each["parent"] for each in worker if each["call"] == ["build"]] == [f"{id_of(second):x}"]
    files = [each for each in ended if each["name"] == "read files"]
    build_call = next(each for each in worker if each["call"] == ["build"])
    assert files[1]["parent"] == build_call["span"]
    assert told["trace"] == f"{third.context.trace_id:x}" if third.context else False


class _Raises(SpanProcessor):
    def on_start(self, span: object, parent_context: object = None) -> None:  # noqa: ARG002 - as they are called
        raise OSError("the exporter is broken")

    def on_end(self, span: object) -> None:  # noqa: ARG002
        raise OSError("the exporter is broken")


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_a_tracer_that_raises_harms_no_read(spans: Spans, caplog: pytest.LogCaptureFixture, executor: str) -> None:
    """E4"""
    spans.provider.add_span_processor(_Raises())
    with SessionListCache(traced, executor="processes" if executor == "processes" else "threads") as cache:
        found = cache.lookup(WORK)

    assert found.outcome == "built"
    assert "hermes_cache.tracer_failed" in {record.msg for record in caplog.records}


def test_after_uninstrument_nothing_is_traced(spans: Spans) -> None:
    """L4"""
    instrumentor = HermesCacheInstrumentor()
    was = instrumentor.is_instrumented
    instrumentor.uninstrument()
    with SessionListCache(traced) as cache:
        payload = cache.get(WORK)

    assert (was, instrumentor.is_instrumented, tracing.tracer) == (True, False, None)
    assert spans.reads == spans.builds == []
    assert payload["trace"] == "0"


def test_no_build_of_a_follower_is_a_child_of_what_its_thread_did_before(spans: Spans) -> None:
    """R13"""
    builder = GatedBuilder(is_open=True)
    with SessionListCache(builder, policy=Policy(max_build_duty=1)) as cache, cache.follow(WORK) as following:
        following.get(timeout=WAIT_S)
        cache.invalidate("work")
        builds = spans.wait_for_builds(2)

    assert parent_of(builds[1]) is None
