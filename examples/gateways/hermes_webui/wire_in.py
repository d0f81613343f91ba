"""Wires hermes_cache into a checkout of hermes-webui: `python wire_in.py PATH`. README.md tells it by hand."""

import re
import shutil
import sys
from pathlib import Path

EDITS = {
    "session_events.py": [
        (
            r'(def publish_session_list_changed\([^)]*\) -> None:\n    """.*?"""\n)',
            r"\1    from api import session_lists\n\n    session_lists.publish(reason, profile, session_id)\n",
        ),
    ],
    "routes.py": [
        (
            r"( +)payload = _get_cached_session_list_payload\(\n",
            r"\1from api import session_lists\n\n\1return session_lists.answer(\n\1    handler,\n",
        ),
        (r' +diag=diag,\n( +\)\n) +diag\.stage\("response_write"\)\n +return j\([^\n]*\n', r"\1"),
    ],
}


def wire_in(checkout: Path) -> None:
    """Make all edits, or none."""
    api = checkout / "api"
    if (api / "session_lists.py").exists():
        sys.exit(f"{checkout} is wired in already")
    texts = {name: (api / name).read_text("utf-8") for name in EDITS}
    for name, edits in EDITS.items():
        for pattern, new in edits:
            texts[name], count = re.subn(pattern, new, texts[name], flags=re.DOTALL)
            if count != 1:
                sys.exit(
                    f"{api / name} has {count} places that look like {pattern}; change it by hand (README.md)"
                )
    for name, text in texts.items():
        (api / name).write_text(text, "utf-8")
    shutil.copy(Path(__file__).with_name("session_lists.py"), api)


if __name__ == "__main__":
    wire_in(Path(sys.argv[1]))
