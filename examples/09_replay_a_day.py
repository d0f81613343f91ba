"""Replay a day: the state after any event of a journal, in whatever order the events arrived."""

from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from hermes_cache import (
    AgreedState,
    EventId,
    SessionListChanged,
    SettingsChanged,
    StreamStarted,
    StreamStopped,
    journal_at,
    replay,
)

HOUR_S = 3600.0
LEASE_S = 8 * HOUR_S
DAY = (
    SessionListChanged(id=EventId("gateway", 1), at_s=8 * HOUR_S, reason="session_new", profile="work"),
    StreamStarted(id=EventId("worker", 1), at_s=9 * HOUR_S, stream_id="turn-1", profile="work"),
    SessionListChanged(id=EventId("phone", 1), at_s=12 * HOUR_S, reason="session_pin", profile="home"),
    StreamStopped(id=EventId("worker", 2), at_s=13 * HOUR_S, stream_id="turn-1"),
    SettingsChanged(id=EventId("gateway", 2), at_s=17 * HOUR_S),
)


def show(agreed: AgreedState, at_s: float) -> None:
    print(f"  streaming: {', '.join(agreed.active_streams(at_s, LEASE_S)) or 'nothing'}")
    for profile in ("home", "work"):
        event = agreed.outdated_by(profile)
        by = f"at {event.at_s / HOUR_S:g} h, by {getattr(event, 'reason', 'settings')}" if event else "never"
        print(f"  the list of {profile} was last outdated: {by}")


def main() -> None:
    with (
        TemporaryDirectory() as folder,
        closing(journal_at(f"sqlite:///{Path(folder) / 'journal.db'}")) as journal,
    ):
        journal.append(DAY)
        for number in (1, 3, 5):
            event = DAY[number - 1]
            print(f"as of event {number}, at {event.at_s / HOUR_S:g} h:")
            show(replay(journal, until=number).agreed, event.at_s)

    backwards = AgreedState().after(DAY[::-1])
    print("the same in any order:", backwards.outdated == AgreedState().after(DAY).outdated)


if __name__ == "__main__":
    main()
