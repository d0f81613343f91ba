"""Why was the list as it was? `explain` says which event came when, what was built, and what readers got.

`print(cache.explain(key))` prints everything, with times and the stamp. This example prints only what is the same
in every run.
"""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

from hermes_cache import Bus, Explanation, Policy, SessionListCache, SessionListKey

KEY = SessionListKey(profile="work")
BEGAN, GO_ON = Event(), Event()


def build(_key: SessionListKey) -> dict[str, object]:
    BEGAN.set()
    GO_ON.wait(60.0)
    return {"sessions": [{"session_id": "s1", "title": "Report"}]}


def show(explanation: Explanation) -> None:
    numbers = {touched.event.id: number for number, touched in enumerate(reversed(explanation.events), 1)}
    print("  condition:", explanation.condition)
    for touched in reversed(explanation.events):
        unseen = ", after the build of what is held" if touched.is_unseen else ""
        print(f"  event {numbers[touched.event.id]}: {getattr(touched.event, 'reason', '')}{unseen}")
    for made in reversed(explanation.builds):
        by = f", overtaken by event {numbers[made.overtaken_by]}" if made.overtaken_by else ""
        print(f"  build {made.id}: asked for by {made.reason}, {made.outcome}{by}")
    print("  reads since:", dict(explanation.served))


def main() -> None:
    bus = Bus()
    with SessionListCache(build, bus=bus, policy=Policy(ttl=60)) as cache, ThreadPoolExecutor(1) as tab:
        print("A session is renamed while the first build runs:")
        reading = tab.submit(cache.get, KEY)
        BEGAN.wait(60.0)
        bus.session_list_changed.send("sidebar", reason="session_rename", profile="work", session_id="s1")
        GO_ON.set()
        reading.result(60.0)
        show(cache.explain(KEY))

        print("The next reads build once, and hit:")
        for _ in range(3):
            cache.get(KEY)
        show(cache.explain(KEY))

        print("Another session is deleted, and nobody has read since:")
        bus.session_list_changed.send("sidebar", reason="session_delete", profile="work", session_id="s2")
        show(cache.explain(KEY))


if __name__ == "__main__":
    main()
