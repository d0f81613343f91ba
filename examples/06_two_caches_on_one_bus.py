"""Two caches on one bus: one `send` outdates both, before it returns and before any receiver is called."""

from hermes_cache import Bus, Policy, SessionListCache, SessionListChanged, SessionListKey

UNREAD = {"s1": 2, "s2": 0}
KEY = SessionListKey(profile="work")


def build_sidebar(_key: SessionListKey) -> dict[str, object]:
    return {"sessions": [{"session_id": name, "unread": count} for name, count in UNREAD.items()]}


def build_badge(_key: SessionListKey) -> dict[str, object]:
    return {"unread": sum(UNREAD.values())}


def main() -> None:
    bus, policy = Bus(), Policy(ttl=60)
    with (
        SessionListCache(build_sidebar, bus=bus, policy=policy) as sidebar,
        SessionListCache(build_badge, bus=bus, policy=policy) as badge,
    ):
        print("before:", sidebar.get(KEY)["sessions"], badge.get(KEY))

        @bus.session_list_changed.connect
        def hear(sender: str, event: SessionListChanged) -> None:
            print(f"{sender} says {event.reason}; the badge, read in the receiver: {badge.get(KEY)}")

        UNREAD["s2"] += 1
        bus.session_list_changed.send("inbox", reason="message_arrived", profile="work", session_id="s2")

        print("after: ", sidebar.get(KEY)["sessions"], badge.get(KEY))
        print("builds:", sidebar.stats().builds, "and", badge.stats().builds)


if __name__ == "__main__":
    main()
