"""Rules W1 and W6: the lines of a command's log, and how many of them there are."""

import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import IO

import pytest

from hermes_cache.log_output import MOST_A_MINUTE, LogFormat, LogOutput, LogSettings, active_settings
from hermes_cache.logs import QuietLogger

logger = QuietLogger("hermes_cache.tests")
Logged = Callable[[LogFormat, Callable[[], None]], list[str]]


@pytest.fixture
def pipe() -> Iterator[tuple[IO[bytes], int]]:
    reading, writing = os.pipe()
    with open(reading, "rb") as reader, closing(os.fdopen(writing, "wb")):  # noqa: PTH123 -- a number
        yield reader, writing


@pytest.fixture
def logged(pipe: tuple[IO[bytes], int]) -> Logged:
    """Returns the lines that something logs."""
    reader, writing = pipe

    def lines(form: LogFormat, log: Callable[[], None]) -> list[str]:
        with LogOutput(LogSettings("info", form), writing):
            log()
        os.write(writing, b"end\n")
        return list(iter(lambda: reader.readline().decode().removesuffix("\n"), "end"))

    return lines


def test_a_record_is_one_line_of_text_with_its_fields(logged: Logged) -> None:
    """W1"""

    def log() -> None:
        logger.warning("hermes_cache.build_failed", extra={"hermes_cache.key": "a b", "hermes_cache.count": 3})

    (line,) = logged("text", log)

    assert line.split(" ", 1)[1] == 'WARNING hermes_cache.build_failed key="a b" count=3'


def test_a_record_is_one_object_of_json_with_its_fields(logged: Logged) -> None:
    """W1"""

    def log() -> None:
        extra = {"hermes_cache.key": "a b", "hermes_cache.count": 3, "hermes_cache.event": "other"}
        logger.warning("hermes_cache.build_failed", extra=extra)

    (line,) = logged("json", log)

    told = json.loads(line)
    assert told.pop("time").endswith("+00:00")
    assert told == {"level": "warning", "event": "hermes_cache.build_failed", "key": "a b", "count": 3}


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    "value", ["a\nb", "a\x1b[31mb", "a\u2028b", "a\udce9b", "a" * 10_000, 2**70, b"\n", ("a\n",)]
)
def test_whatever_a_field_holds_it_stays_one_printable_line_of_bounded_length(
    logged: Logged, form: LogFormat, value: object
) -> None:
    """W6: what others send may stand in a log, and must not look like a line of it."""
    (line,) = logged(form, lambda: logger.info("hermes_cache.tried", extra={"hermes_cache.value": value}))

    assert line.isprintable()
    assert len(line) < 1_000


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_error_tells_its_trace_and_a_warning_only_what_was_raised(logged: Logged, form: LogFormat) -> None:
    """W1"""

    def log() -> None:
        try:
            int("no\nnumber")
        except ValueError:
            logger.warning("hermes_cache.tried", exc_info=True)
            logger.exception("hermes_cache.failed")

    first, *rest = logged(form, log)

    assert "ValueError: invalid literal" in first
    assert "Traceback" in "".join(rest)
    assert len(rest) == 1 if form == "json" else all(line.startswith("    ") for line in rest[1:])


def test_what_ends_a_thread_is_logged_in_the_form_of_the_log(logged: Logged) -> None:
    """W1"""

    def log() -> None:
        failing = threading.Thread(target=int, args=("no number",), name="failing")
        failing.start()
        failing.join()

    (line,) = logged("json", log)

    told = json.loads(line)
    assert (told["event"], told["thread"]) == ("hermes_cache.thread_failed", "failing")
    assert told["error"].startswith("ValueError: ")
    assert threading.excepthook is threading.__excepthook__


def test_other_packages_log_from_warnings_on_and_by_their_name(logged: Logged) -> None:
    """W1"""

    def log() -> None:
        other = logging.getLogger("other.package")
        other.info("nothing")
        other.warning("%s of %s", 1, 2)

    (line,) = logged("text", log)

    assert line.split(" ", 1)[1] == 'WARNING other.package message="1 of 2"'


def test_a_level_leaves_out_what_is_below_it(logged: Logged) -> None:
    """W1"""

    def log() -> None:
        logger.debug("hermes_cache.detail")
        logger.info("hermes_cache.start")

    assert [line.split()[2] for line in logged("text", log)] == ["hermes_cache.start"]


def test_an_event_that_floods_is_cut_off_and_counted_and_leaves_room_for_others(logged: Logged) -> None:
    """W6"""

    def log() -> None:
        for number in range(10_000):
            logger.warning("hermes_cache.refused", extra={"hermes_cache.number": number})
        logger.warning("hermes_cache.other")

    lines = [json.loads(line) for line in logged("json", log)]

    assert [line["event"] for line in lines[:-2]] == ["hermes_cache.refused"] * MOST_A_MINUTE
    assert lines[-2]["event"] == "hermes_cache.other"
    assert (lines[-1]["event"], lines[-1]["left_out"]) == ("hermes_cache.lines_left_out", "hermes_cache.refused")
    assert lines[-1]["count"] == 10_000 - MOST_A_MINUTE


def test_a_pipe_that_nobody_reads_delays_nobody(pipe: tuple[IO[bytes], int]) -> None:
    """W6"""
    reader, writing = pipe
    output = LogOutput(LogSettings(), writing)
    with output:
        for number in range(5_000):
            logger.info("hermes_cache.request", extra={"hermes_cache.path": "a" * 400, "hermes_cache.n": number})

    first = reader.readline()
    hung = output._writer.is_alive()
    reader.close()
    output._writer.join(30)
    assert b"hermes_cache.request" in first
    assert hung
    assert not output._writer.is_alive()


def test_a_target_that_cannot_be_written_harms_nobody() -> None:
    """W6, E4"""
    with open("/dev/full", "wb") as full, LogOutput(LogSettings(), full.fileno()):  # noqa: PTH123 -- a device
        logger.error("hermes_cache.failed")

    assert active_settings() is None


def test_a_process_knows_how_it_logs_so_that_its_workers_can_log_the_same_way() -> None:
    """W1"""
    with LogOutput(LogSettings("debug", "json"), sys.__stderr__.fileno() if sys.__stderr__ else 2):
        settings = active_settings()

    assert settings == LogSettings("debug", "json")
