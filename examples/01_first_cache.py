"""A first cache: a list is built once and read from memory, and no reader can change it."""

from hermes_cache import Policy, SessionListCache, SessionListKey, thaw


def build(key: SessionListKey) -> dict[str, object]:
    print(f"building the list of {key.profile}")
    return {"sessions": [{"session_id": "s1", "title": "Plan the garden"}]}


def main() -> None:
    key = SessionListKey(profile="work")
    with SessionListCache(build, policy=Policy(ttl=60)) as cache:
        for _ in range(3):
            found = cache.lookup(key)
            print(f"{found.outcome}, because of a {found.reason}" if found.reason else found.outcome)

        payload = cache.get(key)
        print("the same object every time:", payload is cache.get(key))
        try:
            payload["sessions"] = []
        except TypeError as error:
            print("refused:", error)
        print("a copy of your own:", thaw(payload))


if __name__ == "__main__":
    main()
