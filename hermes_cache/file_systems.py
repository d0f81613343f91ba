"""File systems: how one of a network is recognised, where SQLite's locks can't be trusted, and whole replacements.

Networks are known on Linux alone. There the locks of one machine, or of a virtual machine's host, are not always
seen by the others, files that several processes write to are damaged, and times are those of another clock.
Source: rules J5, S2; https://sqlite.org/howtocorrupt.html.
"""

import os
from pathlib import Path, PurePath
from tempfile import mkstemp
from typing import Final

MOUNTS: Final = Path("/proc/self/mounts")

_NETWORK: Final = frozenset(
    {
        *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs2", "glusterfs", "gpfs", "lustre"),
        *("ncpfs", "nfs", "nfs4", "ocfs2", "prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs"),
        *(
            "fuse.ceph",
            "fuse.cifs",
            "fuse.davfs",
            "fuse.gcsfuse",
            "fuse.glusterfs",
            "fuse.grpcfuse",
            "fuse.juicefs",
        ),
        *(
            "fuse.mfs",
            "fuse.mount.davfs",
            "fuse.nfs",
            "fuse.rclone",
            "fuse.s3fs",
            "fuse.sshfs",
            "fuse.vmhgfs-fuse",
        ),
    }
)


def network_file_system(path: PurePath, mounts: str) -> str | None:
    """Return the type of the network file system that a path lies on; None if it lies on another.

    Args:
        path: Absolute, without symbolic links.
        mounts: What is mounted where, as `/proc/self/mounts` has it; of two at one path the later counts.
    """
    kinds = {}
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) > 2:  # noqa: PLR2004  # what is mounted, where, and its type
            kinds[PurePath(_unescaped(fields[1]))] = fields[2]
    kind = next((kinds[folder] for folder in (path, *path.parents) if folder in kinds), None)
    return kind if kind in _NETWORK else None


def _unescaped(path: str) -> str:
    for escaped, plain in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        path = path.replace(escaped, plain)
    return path


def is_of_a_network(path: Path, mounts: Path = MOUNTS) -> bool:
    """Say whether a file is on a network file system, also behind links; False if that cannot be known."""
    try:
        return network_file_system(path.resolve(), mounts.read_text(errors="replace")) is not None
    except (OSError, RuntimeError):
        return False


def replace_file(path: Path, content: bytes) -> None:
    """Write a file that only its user may read; a reader meets the old one or the new one, whole."""
    descriptor, name = mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
