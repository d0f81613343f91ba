"""Traces for OpenTelemetry: spans of reads that are no hits, and of builds, also in worker processes.

    hermes_cache.read          on the thread or the task that reads
      hermes_cache.build       on a thread for builds: a child of the read with which it began
        hermes_cache.worker    in a worker process: one for each call of it
          ...                  whatever the builder traces

It uses the API alone: where spans go is for the program to say, in each of its processes. Until `instrument` is
called nothing is traced, and nothing is paid. It needs the extra `opentelemetry`. Source: rules R9, B2, B8.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from time import time_ns
from typing import Final

from hermes_cache.core.effects import Served
from hermes_cache.distribution import install_command, installed_version
from hermes_cache.errors import key_text
from hermes_cache.explain.wording import one_line
from hermes_cache.logs import QuietLogger
from hermes_cache.threads.interrupts import belongs_to_caller
from hermes_cache.tracing import tracing

try:
    from opentelemetry import context as contexts
    from opentelemetry import propagate, trace
except ModuleNotFoundError as missing:
    raise ImportError(f"traces need {missing.name}; {install_command('opentelemetry')}") from missing

_logger: Final = QuietLogger(__name__)

_NAME: Final = "hermes_cache"


class HermesCacheInstrumentor:
    """Turns the traces of all caches in this process on and off."""

    def instrument(self, *, tracer_provider: trace.TracerProvider | None = None) -> None:
        """Trace from now on; a second call changes the provider.

        Args:
            tracer_provider: Makes the spans; None for that of the process.
        """
        tracing.tracer = _Tracer(trace.get_tracer(_NAME, installed_version(), tracer_provider))

    def uninstrument(self) -> None:
        """Trace no more; spans that are open end as they would."""
        tracing.tracer = None

    @property
    def is_instrumented(self) -> bool:
        """Whether caches are traced."""
        return tracing.tracer is not None


class _Tracer:
    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    def read(self, key: Hashable) -> "_Read":
        return _Read(self._tracer, key)

    def build(self, key: Hashable, build_id: int, reason: str, read: object) -> AbstractContextManager[object]:
        span: trace.Span = trace.INVALID_SPAN
        parent = contexts.Context()
        with _harmless():
            parent = read.context_of_span() if isinstance(read, _Read) else parent
            attributes: dict[str, str | int] = {
                "hermes_cache.key": key_text(key),
                "hermes_cache.build_id": build_id,
                "hermes_cache.reason": reason,
            }
            span = self._tracer.start_span("hermes_cache.build", parent, attributes=attributes)
        return _Build(span, trace.set_span_in_context(span, parent))

    def carried(self, call: Callable[..., object]) -> Callable[..., object]:
        carrier: dict[str, str] = {}
        with _harmless():
            propagate.inject(carrier)
        return partial(_call_in_worker, carrier, call)


class _Build:
    """Runs a build with its span as the current one of the thread, and ends that."""

    def __init__(self, span: trace.Span, context: contexts.Context) -> None:
        self._span = span
        self._context = context

    def __enter__(self) -> None:
        self._token = contexts.attach(self._context)

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        contexts.detach(self._token)
        with _harmless():
            if error is not None:
                _note_error(self._span, error)
            self._span.end()


class _Read:
    """One read; its span is made once it is known to be no hit, with the time at which it began."""

    __slots__ = ("_began_ns", "_context", "_key", "_spans", "_tracer")

    def __init__(self, tracer: trace.Tracer, key: Hashable) -> None:
        self._tracer = tracer
        self._key = key
        self._context = contexts.get_current()
        self._began_ns = time_ns()
        self._spans: dict[None, trace.Span] = {}

    def span(self) -> trace.Span:
        """Return the span; the reader and the build that it begins may ask at the same time."""
        span = self._spans.get(None)
        if span is None:
            attributes = {"hermes_cache.key": key_text(self._key)}
            span = self._tracer.start_span(
                "hermes_cache.read", self._context, attributes=attributes, start_time=self._began_ns
            )
        # If two were made, the one that lost is never ended, and so goes nowhere.
        return self._spans.setdefault(None, span)

    def context_of_span(self) -> contexts.Context:
        """Return the context of what the read began, with what the reader carried along."""
        return trace.set_span_in_context(self.span(), self._context)

    def end(self, answer: object) -> None:
        if isinstance(answer, Served) and answer.outcome == "hit" and not self._spans:
            return
        with _harmless():
            span = self.span()
            if isinstance(answer, Served):
                span.set_attributes(_attributes_of(answer))
            elif isinstance(answer, BaseException):
                _note_error(span, answer)
            span.end()


def _attributes_of(answer: Served) -> dict[str, str | int | bool]:
    return {
        "hermes_cache.outcome": answer.outcome,
        "hermes_cache.reason": answer.reason or "none",
        "hermes_cache.build_id": answer.entry.build_id,
        "hermes_cache.version": answer.entry.version,
        "hermes_cache.overtaken": answer.overtaken_by is not None,
    }


def _call_in_worker(
    carrier: Mapping[str, str], call: Callable[..., object], spec: bytes, method: str, *args: object
) -> object:
    """Do a call in a worker process, inside of what the caller carried to it."""
    tracer = trace.get_tracer(_NAME, installed_version())
    attributes = {"hermes_cache.call": method}
    token = contexts.attach(propagate.extract(carrier))
    try:
        with tracer.start_as_current_span("hermes_cache.worker", attributes=attributes):
            return call(spec, method, *args)
    finally:
        contexts.detach(token)


def _note_error(span: trace.Span, error: BaseException) -> None:
    span.set_attribute("error.type", type(error).__qualname__)
    span.set_status(trace.StatusCode.ERROR, one_line(str(error)))


@contextmanager
def _harmless() -> Iterator[None]:
    """Log what a tracer raises: whatever that is, reads and builds go on."""
    try:
        yield
    except Exception as error:
        if belongs_to_caller(error):
            raise
        _logger.warning("hermes_cache.tracer_failed", exc_info=True)
