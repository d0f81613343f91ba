"""Hold-down: the rows that a turn writes for its tokens cause no rebuild; the end of the turn causes one."""

from collections import Counter
from collections.abc import Mapping

from hermes_cache import Bus, Policy, SessionListCache, SessionListKey

CHECK_AT_EVERY_READ = Policy(stamp_interval=0, max_build_duty=1.0, ttl=60)


class MessageTable:
    """Stands for a database; as the cache's sources it tells when rows were added."""

    def __init__(self) -> None:
        self.rows = 0

    def scope(self, key: SessionListKey) -> str:
        """Name what the keys that share a check have in common."""
        return "all profiles" if key.all_profiles else key.profile or "default"

    def stamp(self, _key: SessionListKey, *, held: bool) -> Mapping[str, int]:
        """Tell what is there now; while a stream is held down, nothing that it moves."""
        return {} if held else {"rows": self.rows}


def main() -> None:
    table, bus, key = MessageTable(), Bus(), SessionListKey()

    def build(_key: SessionListKey) -> dict[str, object]:
        return {"sessions": [{"session_id": "s1", "message_count": table.rows}]}

    with SessionListCache(build, sources=table, bus=bus, policy=CHECK_AT_EVERY_READ) as cache:

        def write_and_read(rows: int) -> None:
            outcomes: Counter[str] = Counter()
            for _ in range(rows):
                table.rows += 1
                outcomes[cache.lookup(key).outcome] += 1
            print(f"  {rows} rows written, each read at once: {dict(outcomes)}")

        cache.get(key)
        print("nothing streams")
        write_and_read(5)
        print("a turn streams")
        bus.stream_started.send("chat", stream_id="turn-1", profile="default", session_id="s1")
        write_and_read(500)
        print("the turn is over")
        bus.stream_stopped.send("chat", stream_id="turn-1")
        print("  the next read shows all:", cache.get(key)["sessions"])


if __name__ == "__main__":
    main()
