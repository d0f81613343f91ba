"""`hermes-cache serve`: a gateway over a Hermes home."""

import errno
import os
import socket
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, TypedDict, Unpack

import click

from hermes_cache.cli.options import default_home
from hermes_cache.cli.stop_signals import StoppedAtStart, StopSignals
from hermes_cache.gateway.listening import listener
from hermes_cache.gateway.settings import GatewaySettings, reached_by_others
from hermes_cache.gateway.tokens import TokenFileError, kept_token, state_folder
from hermes_cache.log_output import LogFormat, LogOutput, LogSettings
from hermes_cache.logs import QuietLogger

_logger: Final = QuietLogger(__name__)

_READERS: Final = ("hermes_cache.stores.hermes.builder", "hermes_cache.stores.claude_code")
"""What a worker needs to read a home."""


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
    keep_counts: bool
    access_log: bool
    log_level: str
    log_format: LogFormat


@click.command()
@click.option("--home", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="The Hermes home to serve.  [default: $HERMES_HOME, else ~/.hermes]")  # fmt: skip
@click.option("--demo", is_flag=True, help="Serve a sample home that other processes write to.")
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
@click.option("--keep-counts/--no-keep-counts", default=True, show_default=True,
              help="Keep counts of messages in the user's cache folder, for a quicker next start.")  # fmt: skip
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
            with suppress(StoppedAtStart):
                try:
                    stop.begin()
                    bound = life.enter_context(_bound(settings.host, options["port"]))
                    _serve(settings, options, bound, stop, life)
                finally:
                    stop.is_starting = False
                stop.wait()
            _logger.info("hermes_cache.stopping", extra={"hermes_cache.signal": stop.received})
        _logger.info("hermes_cache.stopped")
    if stop.has_failed:
        raise click.exceptions.Exit(1)


def _serve(
    settings: GatewaySettings, options: _Options, bound: socket.socket, stop: StopSignals, life: ExitStack
) -> None:
    path = None if options["demo"] else options["home"] or _default_home()
    if options["demo"]:
        # The demo is not to show the sessions of the user's own front end, nor those of another agent.
        os.environ.pop("HERMES_WEBUI_STATE_DIR", None)
    _start_worker()
    # Imported only now: the worker imports what it needs at the same time.
    from hermes_cache.cli.serving import Serving  # noqa: PLC0415
    from hermes_cache.stores.hermes.kept_counts import cache_folder  # noqa: PLC0415

    serving = Serving(
        settings=settings,
        journal=options["journal"],
        is_demo=options["demo"],
        # A token that a person gave is known to that person, and not shown to others.
        shows_token=not options["token"],
        kept_in=cache_folder(os.environ) if options["keep_counts"] and not options["demo"] else None,
        on_failure=stop.fail,
    )
    if path is None:
        from hermes_cache.cli.demo import demo_home  # noqa: PLC0415 - others need none of it

        path = life.enter_context(demo_home(options["sessions"]))
    serving.begin(path, bound, life)


def _start_worker() -> None:
    try:
        from hermes_cache.builders.workers import start_ahead  # noqa: PLC0415
    except ModuleNotFoundError:
        return  # The cache says what to install.
    start_ahead(*_READERS)


def _bound(host: str, port: int) -> socket.socket:
    """Bind the address before anything is built: that it is taken is to be said at once."""
    try:
        return listener(host, port)
    except (OSError, UnicodeError) as error:
        raise click.ClickException(f"cannot listen on {host} port {port}: {error}; {_todo(error)}") from error


def _todo(error: Exception) -> str:
    match getattr(error, "errno", None):
        case errno.EADDRINUSE:
            return "end what listens there, or give another port"
        case errno.EACCES:
            return "give a port above 1023"
        case _:
            # Such as a name that nobody knows, or that is too long to be one.
            return "give --host an address of this machine"


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
    path = default_home()
    if not path.is_dir():
        raise click.ClickException(
            f"there is no Hermes home at {click.format_filename(path)}; name one with --home, or try --demo"
        )
    return path
