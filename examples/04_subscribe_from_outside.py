"""Subscribe: an outside component gets changes from a bounded queue, and can go on later from where it stopped."""

from queue import SimpleQueue
from threading import Thread

from hermes_cache import Bus, Change, SessionListCache, SessionListKey, Subscription


def build(_key: SessionListKey) -> dict[str, object]:
    return {"sessions": []}


def described(change: Change | None) -> str:
    if change is None:
        return "nothing"
    what = "everything" if change.everything else f"the list of {change.profile}"
    session = f", session {change.session_id}" if change.session_id else ""
    return f"{what}{session} ({change.reason})"


def forward(subscription: Subscription, sent: SimpleQueue[str]) -> None:
    """Forward changes, as a connection with server-sent events does, until the subscription is closed."""
    for change in subscription:
        sent.put(described(change))


def main() -> None:
    bus = Bus()
    with SessionListCache(build, bus=bus) as cache:
        subscription = cache.subscribe("work")
        sent: SimpleQueue[str] = SimpleQueue()
        connection = Thread(target=forward, args=(subscription, sent))
        connection.start()

        cache.invalidate("work", "session_rename", "s1")
        cache.invalidate("home", "session_rename", "s7")
        bus.settings_changed.send("settings")
        print("connected:", sent.get(timeout=60))
        print("connected:", sent.get(timeout=60))

        subscription.close()
        connection.join()
        cache.invalidate("work", "session_pin", "s2")
        cache.invalidate("work", "session_new", "s3")

        with cache.subscribe("work", since=subscription.version) as resumed:
            print("missed, as one change:", described(resumed.get(timeout=60)))
        with cache.subscribe("work", since="a version of an earlier process:12") as stranger:
            print("no longer known:", described(stranger.get(timeout=60)))


if __name__ == "__main__":
    main()
