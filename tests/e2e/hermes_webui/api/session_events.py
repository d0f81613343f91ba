"""What the program tells of changes; here to nobody."""


def publish_session_list_changed(
    reason: str = "session_changed", profile: str | None = None, session_id: str | None = None
) -> None:
    """Tell browsers."""
    del reason, profile, session_id
