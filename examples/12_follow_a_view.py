"""Following: a view is read once, and then only what changed in it is sent, though nobody polls."""

import asyncio

from hermes_cache import Bus, Patch, Rendered, SessionListCache, SessionListKey

VIEW = SessionListKey()
TITLES = {f"s{number:03}": f"The title of conversation number {number}" for number in range(200)}


def build(_key: SessionListKey) -> dict[str, object]:
    return {"sessions": [{"session_id": session, "title": title} for session, title in TITLES.items()]}


def rename(bus: Bus, session: str, title: str) -> None:
    TITLES[session] = title
    bus.session_list_changed.send("chat", reason="renamed", profile="default", session_id=session)


def in_a_thread(cache: SessionListCache, bus: Bus) -> None:
    with cache.follow(VIEW) as following:
        for news in following:
            match news:
                case Rendered():
                    view = news
                    print("the whole view:", len(TITLES), "rows")
                    rename(bus, "s007", "Renamed")
                case Patch():
                    print("a patch:", [dict(row) for row in news.rows])
                    print("smaller than a tenth of the view:", len(news.body) < len(view.body) / 10)
                    print("applied, it gives the present view:", view.apply(news).body == cache.render(VIEW).body)
                    break


async def on_an_event_loop(cache: SessionListCache, bus: Bus) -> None:
    async with cache.follow(VIEW) as following:
        async for news in following:
            if isinstance(news, Rendered):
                rename(bus, "s009", "Renamed while a loop runs")
            elif isinstance(news, Patch):
                print("a patch on a loop:", [row["session_id"] for row in news.rows])
                break


def main() -> None:
    bus = Bus()
    with SessionListCache(build, bus=bus) as cache:
        in_a_thread(cache, bus)
        asyncio.run(on_an_event_loop(cache, bus))
        print("followed views at the end:", cache.stats().followers)


if __name__ == "__main__":
    main()
