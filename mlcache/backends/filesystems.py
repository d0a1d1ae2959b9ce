"""Which file system a folder lies on, as far as the system tells."""

from __future__ import annotations

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
"""Where Linux lists what is mounted; see proc(5)."""

SHARED = frozenset(
    (
        *("nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "afs", "ncpfs", "ceph", "lustre", "gpfs", "beegfs"),
        *("glusterfs", "fuse.glusterfs", "fuse.ceph", "fuse.sshfs", "fuse.s3fs", "fuse.rclone", "davfs"),
    )
)
"""File systems that several hosts can use at once.

On these, SQLite's write-ahead log cannot work (its index is memory that processes share), and locks are
often not to be relied on: https://sqlite.org/wal.html and https://sqlite.org/faq.html#q5
"""


def shared_kind(folder: Path) -> str | None:
    """The kind of the file system that ``folder`` is on, if several hosts can share it, or else None."""
    try:
        mounts = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    kind = kind_of(folder.resolve(), mounts)
    return kind if kind in SHARED else None


def kind_of(folder: Path, mounts: str) -> str | None:
    """The kind of the file system that ``folder`` is on.

    Args:
        folder: an absolute path without symbolic links.
        mounts: what ``MOUNTS`` says.
    """
    found: tuple[int, str] | None = None
    for line in mounts.splitlines():
        where, _, what = line.partition(" - ")
        fields = where.split(" ")
        if len(fields) > _POINT and folder.is_relative_to(point := Path(_unescape(fields[_POINT]))):
            depth = len(point.parts)
            if found is None or depth >= found[0]:  # of two at one place, the later hides the earlier
                found = depth, what.partition(" ")[0]
    return None if found is None else found[1]


_POINT = 4
"""The place of the mount point among the fields."""


def _unescape(text: str) -> str:
    """Spaces and the like are written as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
