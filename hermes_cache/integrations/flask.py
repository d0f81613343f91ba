"""The extension for Flask; it needs the extra `flask`.

    sessions = HermesCache(app, build, path="/api/sessions")

Each application has a cache of its own, which starts at its first read, also in each worker of a server that
forks. Builders run in the context of their application. Source: rules W4, D4, O7.
"""

import os
from collections.abc import Callable, Hashable
from dataclasses import asdict, dataclass
from typing import Any, Final, Unpack

import click
from flask import Flask, Request, Response, current_app, request
from flask.cli import AppGroup

from hermes_cache.cache.list_cache import ListCache
from hermes_cache.cache.reads import ReadOptions
from hermes_cache.core.events import SESSIONS
from hermes_cache.errors import HermesCacheError
from hermes_cache.integrations import wsgi
from hermes_cache.integrations.reading import Envelope
from hermes_cache.integrations.settings import CacheSettings, settings_in
from hermes_cache.journal.bus import Bus
from hermes_cache.ports import Builder
from hermes_cache.sessions.session_list_cache import SessionListCache

_EXTENSION: Final = "hermes_cache"
_PREFIX: Final = "HERMES_CACHE"


@dataclass(frozen=True, slots=True)
class _Installed:
    """What one application has of an extension."""

    settings: CacheSettings
    bus: Bus
    cache: ListCache[Any]
    application: wsgi.Application


class HermesCache:
    """A cache for each application that it is given to.

    Args:
        app: The application; None if it comes later, by `init_app`.
        builder: Builds session lists; None for those of a Hermes home: of the one that `HERMES_CACHE_HOME` names,
            else of the user's own.
        make: Makes the cache, for other kinds of lists or with further arguments: called with `policy`, `bus`,
            `journal`, `executor` and `build_context`, as in
            `lambda **given: ListCache(build, profile_of=str, **given)`. None for a `SessionListCache`.
        key_of: Returns the key that a request asks for. None: it is a session list, whose fields are parameters.
        path: Where the list is served, with `/events` and `/follow` below it; None for no routes.
        prefix: What the names of its settings begin with, and its group of commands, so that an application can
            have several caches. Their buses have different names, so they may share a journal.
    """

    def __init__(
        self,
        app: Flask | None = None,
        builder: Builder | None = None,
        *,
        make: Callable[..., ListCache[Any]] | None = None,
        key_of: Callable[[Request], Hashable] | None = None,
        path: str | None = None,
        prefix: str = _PREFIX,
    ) -> None:
        self._builder = builder
        self._make = make
        self._key_of = key_of
        self._path = path
        self._prefix = prefix
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Add the cache, its routes and its commands to an application.

        Raises:
            PolicyError: A field of the policy has a value that cannot work.
            SettingError: A setting is not known, or has a value that is not.
            ValueError: The application has a cache with the same prefix.
        """
        others = app.extensions.setdefault(_EXTENSION, {})
        if any(other._prefix == self._prefix for other in others):  # noqa: SLF001 - of the same class
            raise ValueError(
                f"the application has a HermesCache with the prefix {self._prefix!r} already; give each its own"
            )
        settings = settings_in(app.config, os.environ, self._prefix)
        bus = Bus(SESSIONS if self._prefix == _PREFIX else self._prefix.lower())
        cache = self._made(app, settings, bus)
        installed = _Installed(settings, bus, cache, self._application(cache, settings))
        others[self] = installed
        if self._path is not None:
            self._add_routes(app, installed.application)
        app.cli.add_command(_commands(self._prefix, installed))

    @property
    def cache(self) -> ListCache[Any]:
        """The cache of the application whose context this is."""
        return self._installed().cache

    @property
    def bus(self) -> Bus:
        """The bus of that cache, for publishers of this application."""
        return self._installed().bus

    @property
    def streams(self) -> wsgi.EventStreams:
        """The event streams of that application, for `wsgi.end_at_stop_signals`."""
        return self._installed().application.streams

    def respond(self, key: Hashable, *, envelope: Envelope = None, **options: Unpack[ReadOptions]) -> Response:
        """Answer the request of this context with a list, with what changed in it, with 304, or with the error.

        Args:
            key: The list.
            envelope: Fields that the body gets behind its own; they make the tag weak. Patches lack them (O7).
            options: How the read wants its answer.
        """
        return _as_flask(wsgi.respond(self.cache, key, request.environ, envelope=envelope, **options))

    def events(self, profile: str | None = None) -> Response:
        """Answer the request of this context with the changes of a profile, or of all, as server-sent events."""
        return _as_flask(self.streams.changes(request.environ, profile))

    def follow(self, key: Hashable) -> Response:
        """Answer the request of this context with a list and with what changes in it, as server-sent events."""
        return _as_flask(self.streams.follow(request.environ, key))

    def _installed(self) -> _Installed:
        installed: _Installed | None = current_app.extensions.get(_EXTENSION, {}).get(self)
        if installed is None:
            raise RuntimeError(f"the application {current_app.name!r} has no cache yet; call init_app(app) first")
        return installed

    def _made(self, app: Flask, settings: CacheSettings, bus: Bus) -> ListCache[Any]:
        given: dict[str, Any] = {
            "policy": settings.policy,
            "bus": bus,
            "journal": settings.journal,
            "executor": settings.executor,
        }
        if settings.executor == "threads":
            given["build_context"] = lambda _key: app.app_context()
        if self._make is not None:
            return self._make(**given)
        if self._builder is not None:
            return SessionListCache(self._builder, **given)
        # Most applications have a builder of their own, and a home takes long to import.
        from hermes_cache.stores.hermes import HermesHome  # noqa: PLC0415

        home = HermesHome(settings.home)
        return SessionListCache(home.builder, sources=home.sources, watch=home.watch, **given)

    def _application(self, cache: ListCache[Any], settings: CacheSettings) -> wsgi.Application:
        most = wsgi.MAX_STREAMS if settings.max_streams is None else settings.max_streams
        streams = wsgi.EventStreams(cache, limit=most)
        key_of = self._key_of
        if key_of is not None:
            return wsgi.Application(cache, lambda _environ: key_of(request), streams=streams)
        if not isinstance(cache, SessionListCache):
            raise TypeError("key_of is None, and `make` made no SessionListCache; name the key of a request")
        return wsgi.session_application(cache, streams=streams)

    def _add_routes(self, app: Flask, application: wsgi.Application) -> None:
        name = self._prefix.lower()
        for below in ("", "/events", "/follow"):

            def view(below: str = below) -> Response:
                return _as_flask(application.answer({**request.environ, "PATH_INFO": below}))

            app.add_url_rule(f"{self._path}{below}", f"{name}{below.replace('/', '_')}", view)


def _as_flask(response: wsgi.Response[bytes | wsgi.EventStream]) -> Response:
    # In a list: of bytes alone Flask counts the length anew, and an answer to HEAD would say 0.
    body = [response.body] if isinstance(response.body, bytes) else response.body
    return Response(body, response.status, response.headers)


def _commands(prefix: str, installed: _Installed) -> AppGroup:
    group = AppGroup(prefix.lower().replace("_", "-"), help="The cache of this application.")

    @group.command("settings")
    def settings() -> None:
        """Print what the cache is like: the settings of the application, else of the environment."""
        from hermes_cache.journal.tables import shown_url  # noqa: PLC0415 - takes long

        values = asdict(installed.settings)
        for name, value in (values | values.pop("policy")).items():
            shown = shown_url(value) if name == "journal" and value else value
            click.echo(f"{prefix}_{name.upper()}={'' if shown is None else shown}")

    @group.command("publish")
    @click.option("--profile", help="Whose list changed; absent: everybody's.")
    @click.option("--reason", default="published", show_default=True, help="Why, in a word.")
    @click.option("--session-id", help="The session that changed.")
    def publish(profile: str | None, reason: str, session_id: str | None) -> None:
        """Tell the processes of this application that a list changed, and print the event's ticket."""
        if installed.settings.journal is None:
            raise click.ClickException(f"other processes hear of it through a journal; set {prefix}_JOURNAL")
        try:
            with installed.cache as cache:
                click.echo(cache.invalidate(profile, reason, session_id))
        except HermesCacheError as error:
            raise click.ClickException(str(error)) from error

    return group
