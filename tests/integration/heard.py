"""What a subscription holds."""

from hermes_cache import Change, Subscription


def drained(subscription: Subscription) -> list[Change]:
    """Return the changes that wait in a subscription, oldest first."""
    return list(iter(lambda: subscription.get(timeout=0), None))


def scopes_in(subscription: Subscription) -> list[tuple[str | None, str | None]]:
    """Return the profile and the session of each change that waits in a subscription."""
    return [(change.profile, change.session_id) for change in drained(subscription)]
