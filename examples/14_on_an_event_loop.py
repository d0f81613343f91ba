"""On an event loop: a coroutine builds, 50 clients read, a stream hears of changes; nothing blocks the loop."""

import asyncio

from hermes_cache import Bus, SessionListCache, SessionListKey, Subscription

VIEW = SessionListKey()
TITLES = {"s1": "First", "s2": "Second"}


class Pool:
    """A pool of connections, as a driver of a database has it: it belongs to one event loop."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(2)

    async def titles(self) -> dict[str, str]:
        """Ask the database."""
        async with self._free:
            await asyncio.sleep(0.02)
            return dict(TITLES)


async def hear(changes: Subscription) -> None:
    async for change in changes:
        print("a stream hears:", change.reason, change.session_id)
        break


async def main() -> None:
    pool = Pool()

    async def build(_key: SessionListKey) -> dict[str, object]:
        titles = await pool.titles()
        return {"sessions": [{"session_id": session, "title": title} for session, title in titles.items()]}

    # As in the lifespan of an application: builds run on this loop, and end before the block does.
    async with SessionListCache(build, bus=Bus()) as cache:
        payloads = await asyncio.gather(*[cache.aget(VIEW) for _ in range(50)])
        print(len(payloads), "clients,", cache.stats().builds, "build, one payload:", payloads[0] is payloads[49])

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(hear(await cache.asubscribe()))
            TITLES["s1"] = "Renamed"
            await cache.ainvalidate("default", reason="renamed", session_id="s1")
        answer = await cache.arender(VIEW)
        print(answer.lookup.outcome, b"Renamed" in answer.body)


if __name__ == "__main__":
    asyncio.run(main())
