"""The gateway with few file descriptors, and with peers that vanish (rule W6)."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hermes_cache.log_output import MOST_A_MINUTE
from hermes_cache.samples.home import make_sample_home
from tests.e2e.crowd import crowd, slow_answers, status_of
from tests.e2e.event_client import Client
from tests.e2e.gateway_process import served
from tests.waiting import PROCESS_S

_CLIENT = """
import socket, sys, time
streams = [socket.create_connection((sys.argv[1], int(sys.argv[2]))) for _ in range(5)]
for stream in streams:
    stream.sendall(b"GET /api/sessions/events HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    stream.recv(100)
print("open", flush=True)
time.sleep(300)
"""
_GATEWAY = """
import sys, tempfile
from hermes_cache import Bus, HermesHome, SessionListCache
from hermes_cache.gateway.app import create_app
from hermes_cache.gateway.server import GatewayServer
from hermes_cache.gateway.settings import GatewaySettings
settings = GatewaySettings(host=sys.argv[1], token="a-token-for-this-test", heartbeat_s=float(sys.argv[2]))
with tempfile.TemporaryDirectory() as home, SessionListCache(lambda key: {"sessions": []}, bus=Bus()) as cache:
    with GatewayServer(create_app(cache, HermesHome(home), settings=settings), settings.host) as server:
        print(server.url, flush=True)
        sys.stdin.read()
"""


@pytest.mark.parametrize("descriptors", [64, 256])
def test_out_of_descriptors_it_goes_on(tmp_path: Path, descriptors: int) -> None:
    # Proves W6: the command itself, with worker processes, beside more silent clients than it can have.
    make_sample_home(tmp_path / "home", sessions=100, seed=7)

    began_s = time.monotonic()
    with served("--home", str(tmp_path / "home"), ulimit=f"-n {descriptors}") as (process, url):
        with crowd(url, descriptors + 50):
            slow = slow_answers(url)
        after = [status_of(url) for _ in range(5)]
        process.terminate()
        _, said = process.communicate(timeout=PROCESS_S)

    assert len(slow) <= 1
    assert after == [200] * 5
    assert "Traceback" not in said
    minutes = 1 + (time.monotonic() - began_s) // 60
    assert said.count("too_many_connections most=") <= MOST_A_MINUTE * minutes


def test_it_takes_as_many_descriptors_as_it_may_have(tmp_path: Path) -> None:
    # Proves W6: a thousand streams need more than a shell usually allows.
    make_sample_home(tmp_path / "home", sessions=10, seed=7)

    with served("--home", str(tmp_path / "home"), ulimit="-S -n 64") as (_, url):
        streams = [Client(url) for _ in range(100)]
        statuses = {stream.status for stream in streams}
        for stream in streams:
            stream.close()

    assert statuses == {200}


@contextmanager
def own_network() -> Iterator[tuple[str, str]]:
    """Make a network namespace with a cable to it; give its name and the address of this end."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("network namespaces need root and the command `ip`")
    name, here = f"hc{os.getpid()}", f"hcv{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True).returncode:  # noqa: S603, S607 - ours
        pytest.skip("this machine makes no network namespaces")
    try:
        for command in (
            f"link add {here} type veth peer name away netns {name}",
            f"addr add 10.213.77.1/30 dev {here}",
            f"link set {here} up",
            f"-n {name} addr add 10.213.77.2/30 dev away",
            f"-n {name} link set away up",
        ):
            subprocess.run(["ip", *command.split()], check=True)  # noqa: S603, S607 - ours
        yield name, "10.213.77.1"
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)  # noqa: S603, S607 - ours


@pytest.mark.parametrize("heartbeat_s", [15, 600], ids=["while something is sent", "in silence"])
@pytest.mark.timeout(120)
@pytest.mark.long
def test_peers_that_vanish_without_a_word_are_found_within_a_minute(heartbeat_s: float) -> None:
    # Proves W6: the cable is pulled, so that no FIN and no reset ever comes.
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with (
        own_network() as (name, address),
        subprocess.Popen(  # noqa: S603 - ours
            [sys.executable, "-c", _GATEWAY, address, str(heartbeat_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        ) as gateway,
    ):
        assert gateway.stdout
        port = gateway.stdout.readline().rpartition(":")[2].strip("/\n")
        # A token is asked for beyond loopback; it is of no matter here, so the streams show it.
        client = _CLIENT.replace(
            "Host: localhost", f"Host: {address}\\r\\nAuthorization: Bearer a-token-for-this-test"
        )
        with subprocess.Popen(  # noqa: S603 - ours
            ["ip", "netns", "exec", name, sys.executable, "-c", client, address, port],  # noqa: S607 - of the system
            stdout=subprocess.PIPE,
            text=True,
        ) as streams:
            assert streams.stdout
            assert streams.stdout.readline() == "open\n"
            open_before = sockets_of(gateway.pid)
            subprocess.run(["ip", "-n", name, "link", "set", "away", "down"], check=True)  # noqa: S603, S607 - ours
            began_s = time.monotonic()
            while sockets_of(gateway.pid) > open_before - 5 and time.monotonic() - began_s < 70:
                time.sleep(0.5)
            took_s = time.monotonic() - began_s
            streams.kill()
        gateway.kill()

    assert took_s < 60


def sockets_of(pid: int) -> int:
    """Return how many sockets a process has open."""
    return sum(1 for each in Path(f"/proc/{pid}/fd").iterdir() if str(each.readlink()).startswith("socket:"))
