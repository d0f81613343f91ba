"""Publish a change: every read after `send` returned sees it. Lists that it does not touch stay as they are."""

from hermes_cache import Policy, SessionListCache, SessionListKey, default_bus

TITLES = {"home": ["Shopping"], "work": ["Report"]}


def build(key: SessionListKey) -> dict[str, object]:
    return {"sessions": [{"title": title} for title in TITLES[key.profile or "home"]]}


def rename(profile: str, title: str) -> None:
    """Change a title, as a part of the application does that knows the bus alone, and no cache."""
    TITLES[profile] = [title]
    default_bus.session_list_changed.send("sidebar", reason="session_rename", profile=profile, session_id="s1")


def show(cache: SessionListCache, profile: str) -> None:
    found = cache.lookup(SessionListKey(profile=profile))
    print(f"{profile}: {found.payload['sessions']} ({found.outcome}, {found.reason or 'nothing changed'})")


def main() -> None:
    with SessionListCache(build, policy=Policy(ttl=60)) as cache:
        for profile in TITLES:
            show(cache, profile)

        print("-- a session of work is renamed")
        rename("work", "Report for May")
        for profile in TITLES:
            show(cache, profile)

        print("-- settings changed, which touches every list")
        default_bus.settings_changed.send("settings")
        for profile in TITLES:
            show(cache, profile)


if __name__ == "__main__":
    main()
