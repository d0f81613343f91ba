"""Targets: what is remembered of aliases belongs to one version of the settings."""

from hermes_cache.actors.targets import Targets
from hermes_cache.core.keys import SessionListKey


def test_an_answer_of_older_settings_is_asked_for_anew_and_displaces_no_newer_one() -> None:
    """K3"""
    asked: list[str] = []

    def is_root_profile(name: str) -> bool:
        asked.append(name)
        return len(asked) == 1

    targets, key = Targets(None, is_root_profile, watched=False), SessionListKey("renamed")

    profiles = [targets.find(key, settings).key.profile for settings in (2, 1, 2)]

    assert profiles == ["default", "renamed", "default"]
    assert len(asked) == 2
