"""Makes the picture of the doctor that the documentation shows: `python -m tests.pictures`.

The command runs as at a terminal, over a sample home with planted faults; what it prints becomes an SVG.
"""

import os
import re
import subprocess
import sys
import tempfile
from io import StringIO
from pathlib import Path
from typing import Final

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from hermes_cache.samples.home import make_sample_home

_PICTURES: Final = Path(__file__).parents[2] / "docs" / "pictures"
_WIDTH: Final = 110
_WITHOUT_FONTS: Final = re.sub(r"@font-face \{\{.*?\}\}|<!--.*?-->", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
"""A picture that loads nothing from elsewhere."""


def _plant(home: Path) -> None:
    """Do to a home what befalls homes."""
    make_sample_home(home, sessions=60)
    (home / "webui" / "settings.json").write_text('{"show_cli_sessions": tr')
    (home / "profiles" / "old work").mkdir()
    wal = home / "state.db-wal"
    wal.write_bytes(b"frames of a commit that was not taken in" * 100)
    os.utime(wal, (1_000.5, 1_000.5))


def _printed(home: Path) -> str:
    command = [sys.executable, "-m", "hermes_cache.cli", "doctor", "--home", str(home), "--workers", "4"]
    environment = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": str(_WIDTH)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 -- ours
    return done.stdout


def main() -> None:
    """Make the picture."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="h") as folder:  # a short path, as a home's usually is
        home = Path(folder) / "h"
        _plant(home)
        printed = _printed(home)
    console = Console(record=True, width=_WIDTH, file=StringIO(), force_terminal=True)
    console.print(Text("$ hermes-cache doctor --workers 4\n"))
    console.print(Text.from_ansi(printed.replace(str(home), "~/.hermes")))
    svg = console.export_svg(title="hermes-cache doctor", code_format=_WITHOUT_FONTS, unique_id="doctor")
    _PICTURES.mkdir(exist_ok=True)
    (_PICTURES / "doctor.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
