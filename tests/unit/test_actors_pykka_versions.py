"""Which versions of pykka the mailbox was tried with: it uses names that are pykka's own."""

import ast
from importlib.metadata import version
from pathlib import Path
from typing import Final

import hermes_cache

TRIED_WITH: Final = {"4.4.0", "4.4.1", "4.4.2", "4.5.0"}

_PRIVATE_NAMES: Final = {
    "_ActorStop",
    "_actor_loop",
    "_actor_loop_setup",
    "_actor_ref",
    "_create_actor_inbox",
    "_create_future",
    "_envelope",
    "_handle_receive",
    "_start_actor_loop",
}
_PACKAGE: Final = Path(hermes_cache.__file__).parent


def test_the_mailbox_was_tried_with_this_version_of_pykka() -> None:
    installed = version("pykka")

    assert installed in TRIED_WITH, (
        f"pykka {installed} is untried: run the tests of the mailbox and of the notifier with it, mend "
        "hermes_cache/actors/mailbox.py if they fail, and add the version here"
    )


def test_only_the_mailbox_uses_names_that_are_pykkas_own() -> None:
    users = {
        str(path.relative_to(_PACKAGE))
        for path in _PACKAGE.rglob("*.py")
        if _PRIVATE_NAMES.intersection(_names_in(path.read_text(encoding="utf-8")))
    }

    assert users == {"actors/mailbox.py"}


def _names_in(source: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(attr=name) | ast.FunctionDef(name=name):
                names.add(name)
            case ast.ImportFrom(module=str(module)):
                names.update(module.split("."))
            case _:
                pass
    return names
