"""Hold-down: the rows that a turn writes for its tokens cause no rebuild; the end of the turn causes one."""

from collections import Counter

from hermes_cache import Bus, Policy, SessionListCache, SessionListKey

CHECK_AT_EVERY_READ = Policy.strict(ttl=60)


class MessageTable:
    """Stands for a database."""

    def __init__(self) -> None:
        self.rows = 0

    def stamp(self, _key: SessionListKey) -> int:
        """Return a value that changes with each row; while a stream runs, the cache does not ask for it."""
        return self.rows


def main() -> None:
    table, bus, key = MessageTable(), Bus(), SessionListKey()

    def build(_key: SessionListKey) -> dict[str, object]:
        return {"sessions": [{"session_id": "s1", "message_count": table.rows}]}

    with SessionListCache(build, sources=table.stamp, bus=bus, policy=CHECK_AT_EVERY_READ) as cache:

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
