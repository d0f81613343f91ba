"""What `hermes-cache serve` runs: a cache of a home, and a gateway before it."""

import os
import resource
import socket
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from hermes_cache.cli.options import SERVE_POLICY
from hermes_cache.cli.output import forget_output
from hermes_cache.doctor.examining import Examined, examine
from hermes_cache.errors import HermesCacheError, JournalUnavailableError, UnsupportedError
from hermes_cache.gateway.origins import addresses_for_browsers
from hermes_cache.gateway.publishing import Demo
from hermes_cache.gateway.settings import GatewaySettings
from hermes_cache.gateway.tokens import address_with
from hermes_cache.gateway.view_defaults import PAGE_QUERY, USUAL_AGENT_LIMIT, ViewDefaults
from hermes_cache.integrations.view_query import key_of, parameters_in
from hermes_cache.journal.bus import Bus
from hermes_cache.logs import QuietLogger
from hermes_cache.samples.naive_cache import as_in_a_large_home
from hermes_cache.sessions.session_list_cache import SessionListCache
from hermes_cache.stores.claude_code import ClaudeCode
from hermes_cache.stores.hermes import HermesHome

_logger: Final = QuietLogger(__name__)

_DESCRIPTORS: Final = 8_192
"""For 4,096 connections, and for files. A shell often allows 1,024, of which a thousand streams leave too few."""

_WARMS_FOR_S: Final = 10.0
"""How long the command waits for the first list before it says that it serves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """How a home is served.

    Attributes:
        settings: Those of the gateway.
        journal: The URL of the journal; None for none.
        is_demo: Whether it is a demo: others write to its home, its builds take as long as in a large home, and
            the sessions of Claude Code are not listed.
        shows_token: Whether the addresses that are printed have the token.
        kept_in: Where counts are kept for the next start; None if they are not.
        on_failure: Called if the gateway fails once it serves.
    """

    settings: GatewaySettings
    journal: str | None
    is_demo: bool
    shows_token: bool
    kept_in: Path | None
    on_failure: Callable[[], None]

    def begin(self, path: Path, bound: socket.socket, life: ExitStack) -> None:
        """Serve a home, and say so.

        Args:
            path: The home.
            bound: The socket to listen on.
            life: What must end with the command is put in here.

        Raises:
            click.ClickException: The journal can never work, or a package is missing.
        """
        journal = f"sqlite:///{path.parent / 'journal.db'}" if self.is_demo and not self.journal else self.journal
        if journal is not None:
            _try_journal(journal)
        _allow_descriptors()
        home = HermesHome(path, stores=() if self.is_demo else (ClaudeCode(),), kept_in=self.kept_in)
        life.callback(home.close)
        cache = life.enter_context(_cache(home, journal, is_slow=self.is_demo))
        is_warm = _begin_to_warm(cache, home)
        # Imported only now: a worker process reads the home in the meantime.
        from hermes_cache.gateway.app import create_app  # noqa: PLC0415
        from hermes_cache.gateway.server import GatewayServer  # noqa: PLC0415

        settings = self.settings
        demo = life.enter_context(_demo(path, cache, home, journal)) if self.is_demo and journal else None
        app = create_app(cache, home, settings=settings, demo=demo)
        server = life.enter_context(GatewayServer(app, bound=bound, on_failure=self.on_failure))
        is_warm.wait(_WARMS_FOR_S)
        _logger.info("hermes_cache.serving", extra={"hermes_cache.address": server.url, "hermes_cache.home": path})
        token = settings.token if self.shows_token else None
        seen = addresses_for_browsers(server.url, settings.origins, settings.root_path)
        addresses = " and ".join(address_with(each, token) for each in seen)
        examined = Examined(home=path, journal=self.journal, policy=SERVE_POLICY, environment=os.environ)
        _say_what_is_wrong(examined, life)
        _say(f"Serving {click.format_filename(path)} at {addresses} (Ctrl-C ends it)")


def _try_journal(url: str) -> None:
    """End the command if the journal can never work. A server that is down may come back: only say so."""
    from hermes_cache.cli.journals import opened_journal  # noqa: PLC0415 - few serve with a journal

    with opened_journal(url, make=True) as journal:
        try:
            journal.end()
        except JournalUnavailableError as error:
            if journal.level != "cluster":
                raise
            effect = "until it is back, events of other processes do not arrive"
            reason = f"{error}; {effect}"
            _logger.warning("hermes_cache.journal_not_reached", extra={"hermes_cache.reason": reason})


def _say_what_is_wrong(examined: Examined, life: ExitStack) -> None:
    """Log what `hermes-cache doctor` would find, but for what the cache logs by itself when it reads the home."""
    is_over = threading.Event()
    life.callback(is_over.set)

    def say() -> None:
        for each in examine(examined, thoroughly=False):
            # At the end a demo removes its home.
            if is_over.is_set():
                return
            extra = {
                "hermes_cache.finding": each.name,
                "hermes_cache.subject": each.subject,
                "hermes_cache.what": each.what,
                "hermes_cache.todo": each.todo,
            }
            if each.gravity == "wrong":
                _logger.warning("hermes_cache.found_wrong", extra=extra)
            else:
                _logger.info("hermes_cache.found_hint", extra=extra)

    # On a thread of its own, because a dead network drive must not keep the command from serving.
    threading.Thread(target=say, name="hermes_cache.doctor", daemon=True).start()


def _allow_descriptors() -> None:
    """Take as many file descriptors as all connections need, if this user may have them (W6)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _say(line: str) -> None:
    """Print a line; a pipe that was closed or a disk that is full does not end a gateway."""
    try:
        click.echo(line)
    except OSError as error:
        forget_output()
        _logger.warning("hermes_cache.output_failed", extra={"hermes_cache.reason": error.strerror})


def _begin_to_warm(cache: SessionListCache, home: HermesHome) -> threading.Event:
    """Have the views built that a front end and the page ask for first.

    Returns:
        What is set when the first of them was built, or failed.

    Source: rule X14.
    """
    is_over = threading.Event()

    def warm() -> None:
        view = ViewDefaults(home.view_settings, agent_limit=USUAL_AGENT_LIMIT).view()
        # If it fails, the reason is in the log already, and in the answer to whoever asks.
        with suppress(HermesCacheError):
            cache.render(view)
        is_over.set()
        with suppress(HermesCacheError):
            cache.render(key_of(parameters_in(PAGE_QUERY), view))

    threading.Thread(target=warm, name="hermes_cache.warming", daemon=True).start()
    return is_over


def _demo(path: Path, cache: SessionListCache, home: HermesHome, journal: str) -> AbstractContextManager[Demo]:
    from hermes_cache.cli.demo import DemoShow  # noqa: PLC0415 - others need none of it

    view = ViewDefaults(home.view_settings, agent_limit=USUAL_AGENT_LIMIT).view()
    return DemoShow(path, cache, view, journal)


def _cache(home: HermesHome, journal: str | None, *, is_slow: bool) -> SessionListCache:
    try:
        return SessionListCache(
            home.builder,
            sources=home.sources,
            watch=home.watch,
            bus=Bus(),
            policy=SERVE_POLICY,
            journal=journal,
            executor="processes",
            build_context=as_in_a_large_home if is_slow else None,
        )
    except (ImportError, UnsupportedError) as error:
        raise click.ClickException(str(error)) from error
