"""The writer of a demo, run as a process of its own: `python -m hermes_cache.cli.demo_writer HOME COMMITS_PER_S`.

It ends when its standard input does: when the parent closes it, or is gone, however it went.
"""

import sys
import threading
from pathlib import Path

from hermes_cache.samples.writer import write_turns


def run(home_path: Path, commits_per_s: float) -> None:
    """Write turns into a home until standard input ends."""
    stop = threading.Event()

    def end_with_parent() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=end_with_parent, daemon=True).start()
    write_turns(home_path, commits_per_s=commits_per_s, stop=stop)


if __name__ == "__main__":
    run(Path(sys.argv[1]), float(sys.argv[2]))
