"""Following over HTTP: 30 lines of JavaScript hold a view, and are sent only what changed in it (needs node)."""

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hermes_cache import Bus, HermesHome, SessionListCache, SessionListKey
from hermes_cache.gateway.app import create_app
from hermes_cache.gateway.server import GatewayServer
from hermes_cache.samples.home import make_sample_home
from hermes_cache.samples.writer import rename_session

FOLLOWER = Path(__file__).with_name("follow_over_http.mjs")


def session_of_the_agent(cache: SessionListCache) -> str:
    rows: Any = cache.get(SessionListKey(show_cli=True))["sessions"]
    return str(next(row["session_id"] for row in rows if row["is_cli_session"]))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        sample = make_sample_home(Path(folder) / "home", sessions=40, profiles=())
        home = HermesHome(sample.path)
        cache = SessionListCache(home.builder, sources=home.sources, watch=home.watch, bus=Bus())
        with cache, GatewayServer(create_app(cache, home)) as server:
            session = session_of_the_agent(cache)
            command = ["node", str(FOLLOWER), server.url]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:  # noqa: S603 - ours
                assert follower.stdout is not None  # noqa: S101 - a pipe was asked for
                print(follower.stdout.readline(), end="")

                # Nobody publishes this, and nobody polls: the files of the home are watched.
                rename_session(sample.path, session, "Renamed by another program")
                print(follower.stdout.read(), end="")


if __name__ == "__main__":
    main()
