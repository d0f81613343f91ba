"""Publish from a script: a command in another process reaches a running cache, because both use one journal."""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from hermes_cache import Bus, Policy, SessionListCache, SessionListKey


def publish(journal: str, profile: str, reason: str) -> str:
    """Publish as the last line of a shell script or a cron job does; its output is the event's ticket."""
    command = [sys.executable, "-m", "hermes_cache.cli", "publish"]
    options = ["--journal", journal, "--profile", profile, "--reason", reason]
    return subprocess.run([*command, *options], check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603 -- ours


def main() -> None:
    titles = ["Plan the garden"]
    key = SessionListKey(profile="work")

    def build(_key: SessionListKey) -> dict[str, object]:
        return {"sessions": [{"title": title} for title in titles]}

    with TemporaryDirectory() as folder:
        journal = f"sqlite:///{Path(folder) / 'journal.db'}"
        with SessionListCache(build, bus=Bus(), journal=journal, policy=Policy(ttl=60)) as cache:
            print("built:", cache.get(key)["sessions"])
            subscription = cache.subscribe("work")

            titles.append("Notes of the night")
            print("a row that nobody published:", cache.lookup(key).outcome)

            ticket = publish(journal, "work", "nightly_import")
            found = cache.lookup(key, at_least=ticket)
            print("after the script:", found.payload["sessions"])
            print(f"this read: {found.outcome}, because of an {found.reason}")

            change = subscription.get(timeout=60)
            print("subscribers heard:", change and f"the list of {change.profile} ({change.reason})")


if __name__ == "__main__":
    main()
