"""Two gateways, one journal: the next request sees what one process wrote, whichever gateway serves it."""

from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

from hermes_cache import Bus, Policy, SessionListCache, SessionListKey

KEY = SessionListKey(profile="work")


class Gateway:
    """A gateway; the folder stands for the sources that all share, and the journal lies in it."""

    def __init__(self, folder: Path) -> None:
        self._title, journal = folder / "title", f"sqlite:///{folder / 'journal.db'}"
        self.cache = SessionListCache(self._build, bus=Bus(), journal=journal, policy=Policy(ttl=60))

    def _build(self, _key: SessionListKey) -> dict[str, object]:
        return {"sessions": [{"title": self._title.read_text()}]}

    def rename(self, title: str) -> str:
        """Change the source, publish that, and return the ticket, which a cookie may carry to the next request."""
        self._title.write_text(title)
        return self.cache.invalidate("work", reason="session_rename")

    def show(self, ticket: str | None = None) -> str:
        """Answer a request; with a ticket, the answer reflects the event of the ticket."""
        found = self.cache.lookup(KEY, at_least=ticket) if ticket else self.cache.lookup(KEY)
        return f"{found.payload['sessions']} ({found.outcome})"


def serve_elsewhere(folder: Path, requests: Connection) -> None:
    gateway = Gateway(folder)
    with gateway.cache:
        for ticket in iter(requests.recv, "stop"):
            requests.send(gateway.show(ticket))
        requests.send(gateway.rename("Harvest"))


def main() -> None:
    spawn = get_context("spawn")
    here, there = spawn.Pipe()
    with TemporaryDirectory() as folder:
        gateway = Gateway(Path(folder))
        with gateway.cache:
            other = spawn.Process(target=serve_elsewhere, args=(Path(folder), there))
            other.start()
            for title in ("Plan the garden", "Sow the peas"):
                ticket = gateway.rename(title)
                here.send(ticket)
                print("renamed here, read there:", here.recv())
            here.send("stop")
            print("renamed there, read here:", gateway.show(here.recv()))
            other.join()


if __name__ == "__main__":
    main()
