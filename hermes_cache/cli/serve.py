"""`hermes-cache serve`: a gateway over a Hermes home."""

import os
import socket
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, TypedDict, Unpack

import click

from hermes_cache.bus.blinker_bus import Bus
from hermes_cache.cli.sample_home import demo_home
from hermes_cache.cli.standard_streams import forget_output
from hermes_cache.cli.stop_signals import StopSignals
from hermes_cache.core.policy import Policy
from hermes_cache.errors import HermesCacheError, JournalUnavailableError
from hermes_cache.gateway.listening import listener
from hermes_cache.gateway.origins import addresses_for_browsers
from hermes_cache.gateway.settings import GatewaySettings, reached_by_others
from hermes_cache.gateway.tokens import TokenFileError, address_with, kept_token, state_folder
from hermes_cache.gateway.view_query import USUAL_AGENT_LIMIT, ViewDefaults
from hermes_cache.log_output import LogFormat, LogOutput, LogSettings
from hermes_cache.logs import QuietLogger
from hermes_cache.sessions.session_list_cache import SessionListCache
from hermes_cache.stores.claude_code import ClaudeCode
from hermes_cache.stores.hermes import HermesHome

_logger: Final = QuietLogger(__name__)

_POLICY: Final = Policy(poll_interval=5.0, stop_timeout=1.5)
"""The page polls every 5 s, and the command must end within that time."""

_WARMS_FOR_S: Final = 10.0
"""How long the command waits for the first list before it says that it serves."""


class _Options(TypedDict):
    home: Path | None
    demo: bool
    sessions: int
    host: str
    port: int
    allowed_hosts: tuple[str, ...]
    origins: tuple[str, ...]
    root_path: str
    token: str | None
    journal: str | None
    access_log: bool
    log_level: str
    log_format: LogFormat


@click.command()
@click.option("--home", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="The Hermes home to serve.  [default: $HERMES_HOME, else ~/.hermes]")  # fmt: skip
@click.option("--demo", is_flag=True, help="Serve a sample home that another process writes to.")
@click.option("--sessions", type=click.IntRange(0, 1_000_000), default=250, show_default=True,
              help="How many sessions the demo has.")  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8787, show_default=True, help="0 takes a free one.")
@click.option("--allow-host", "allowed_hosts", multiple=True, metavar="NAME",
              help="Another host name that requests may use; can be given again.")  # fmt: skip
@click.option("--origin", "origins", multiple=True, metavar="URL",
              help="Where browsers see this gateway behind a proxy or a tunnel, as https://box.example; can be "
                   "given again.")  # fmt: skip
@click.option("--root-path", default="", metavar="PATH",
              help="The prefix of all paths at the proxy, as /hermes.  [default: none]")  # fmt: skip
@click.option("--token", envvar="HERMES_CACHE_TOKEN", show_envvar=True,
              help="The token that requests must show, of at least 16 characters. If there is none and other "
                   "machines can reach --host or --origin, one is made, kept, and printed.")  # fmt: skip
@click.option("--journal", envvar="HERMES_CACHE_JOURNAL", show_envvar=True, metavar="URL",
              help="Share events with other gateways and commands: sqlite:////path/to/journal.db, or "
                   "postgresql://...")  # fmt: skip
@click.option("--access-log", is_flag=True, help="Log each request, and not only refusals.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info",
              show_default=True, help="The least level of what is logged to standard error.")  # fmt: skip
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True,
              help="The form of a line of the log; json is for programs that collect logs.")  # fmt: skip
def serve(**options: Unpack[_Options]) -> None:
    """Serve the session list of a Hermes home over HTTP, until Ctrl-C.

    \b
    Examples:
      hermes-cache serve --demo
      hermes-cache serve --home ~/.hermes --port 8787
      hermes-cache serve --journal sqlite:///journal.db
      hermes-cache serve --host 0.0.0.0 --allow-host box.example
    """  # noqa: D301 -- \b is click's mark for lines to be left as they are
    settings = _settings(options)
    if options["demo"] and options["home"]:
        raise click.UsageError("--demo makes a home of its own; leave out --home")
    stop = StopSignals()
    with LogOutput(LogSettings(options["log_level"], options["log_format"])):
        with ExitStack() as life:
            with suppress(KeyboardInterrupt):
                stop.begin()
                bound = life.enter_context(_bound(settings.host, options["port"]))
                if options["demo"]:
                    # The demo is not to show the sessions of the user's own front end.
                    os.environ.pop("HERMES_WEBUI_STATE_DIR", None)
                    home = life.enter_context(demo_home(options["sessions"]))
                else:
                    home = options["home"] or _default_home()
                _serve_home(home, settings, options, bound, life)
                stop.wait()
            _logger.info("hermes_cache.stopping", extra={"hermes_cache.signal": stop.received})
        _logger.info("hermes_cache.stopped")


def _try_journal(url: str) -> None:
    """End the command if the journal can never work. A server that is down may come back: only say so."""
    from hermes_cache.cli.journals import opened_journal, without_password  # noqa: PLC0415 - few serve with a journal

    with opened_journal(url, make=True) as journal:
        try:
            journal.end()
        except JournalUnavailableError as error:
            if journal.level != "cluster":
                raise
            effect = "until it is back, events of other processes do not arrive"
            reason = f"{without_password(str(error))}; {effect}"
            _logger.warning("hermes_cache.journal_not_reached", extra={"hermes_cache.reason": reason})


def _serve_home(
    path: Path, settings: GatewaySettings, options: _Options, bound: socket.socket, life: ExitStack
) -> None:
    journal = options["journal"]
    if journal is not None:
        _try_journal(journal)
    # The demo is not to show what the user said to another agent.
    home = HermesHome(path, stores=() if options["demo"] else (ClaudeCode(),))
    life.callback(home.close)
    cache = life.enter_context(_cache(home, journal))
    is_warm = _begin_to_warm(cache, home)
    # Imported only now: a worker process starts and reads the home in the meantime.
    from hermes_cache.gateway.app import create_app  # noqa: PLC0415
    from hermes_cache.gateway.server import GatewayServer  # noqa: PLC0415

    server = life.enter_context(GatewayServer(create_app(cache, home, settings=settings), bound=bound))
    is_warm.wait(_WARMS_FOR_S)
    _logger.info("hermes_cache.serving", extra={"hermes_cache.address": server.url, "hermes_cache.home": path})
    # A token that a person gave is known to that person, and not shown to others.
    token = None if options["token"] else settings.token
    seen = addresses_for_browsers(server.url, settings.origins, settings.root_path)
    addresses = " and ".join(address_with(each, token) for each in seen)
    _say(f"Serving {click.format_filename(path)} at {addresses} (Ctrl-C ends it)")


def _bound(host: str, port: int) -> socket.socket:
    """Bind the address before anything is built: that it is taken is to be said at once."""
    try:
        return listener(host, port)
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on {host} port {port}: {error}; end what listens there, or give another port"
        ) from error


def _say(line: str) -> None:
    """Print a line; a pipe that was closed or a disk that is full does not end a gateway."""
    try:
        click.echo(line)
    except OSError as error:
        forget_output()
        _logger.warning("hermes_cache.output_failed", extra={"hermes_cache.reason": error.strerror})


def _begin_to_warm(cache: SessionListCache, home: HermesHome) -> threading.Event:
    """Have the view built that the page and a front end ask for first; return what is set at the end, good or bad.

    Source: rule X14.
    """
    is_over = threading.Event()

    def warm() -> None:
        # If it fails, the reason is in the log already, and in the answer to whoever asks.
        with suppress(HermesCacheError):
            cache.render(ViewDefaults(home.view_settings, agent_limit=USUAL_AGENT_LIMIT).view())
        is_over.set()

    threading.Thread(target=warm, name="hermes_cache.warming", daemon=True).start()
    return is_over


def _cache(home: HermesHome, journal: str | None) -> SessionListCache:
    try:
        return SessionListCache(
            home.builder,
            sources=home.sources,
            bus=Bus(),
            policy=_POLICY,
            journal=journal,
            executor="processes",
        )
    except ImportError as error:
        raise click.ClickException(str(error)) from error


def _settings(options: _Options) -> GatewaySettings:
    host, origins = options["host"], options["origins"]
    token = options["token"] or None
    try:
        if token is None and reached_by_others(host, origins):
            token = kept_token(state_folder(os.environ))
        return GatewaySettings(
            host=host,
            allowed_hosts=options["allowed_hosts"],
            origins=origins,
            root_path=options["root_path"].rstrip("/"),
            access_log=options["access_log"],
            token=token,
        )
    except TokenFileError as error:
        raise click.ClickException(str(error)) from error
    except ValueError as error:
        raise click.UsageError(f"{error}; see --token, --allow-host, --origin and --root-path") from error


def _default_home() -> Path:
    path = Path(os.environ.get("HERMES_HOME") or "~/.hermes")
    with suppress(RuntimeError):  # Nobody's home; the path is named as it was given.
        path = path.expanduser()
    if not path.is_dir():
        raise click.ClickException(
            f"there is no Hermes home at {click.format_filename(path)}; name one with --home, or try --demo"
        )
    return path
