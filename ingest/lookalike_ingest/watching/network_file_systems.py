"""Tells whether a folder is on a network file system, whose changes by other machines have no events."""

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mounts")
"""Linux' list of mounted file systems."""

_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "ncpfs"})
_NETWORK_FUSE = ("fuse.sshfs", "fuse.rclone", "fuse.s3fs", "fuse.gvfsd-fuse", "fuse.glusterfs", "fuse.cephfs")


def find_network_file_system(folder: Path, mounts: Path = MOUNTS) -> str | None:
    """Returns the type of the network file system that a folder is on; None if it is on none, or unknown."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    found: tuple[int, str] | None = None
    for line in lines:
        _, place, kind, *_ = [*line.split(" "), "", "", ""]
        mounted = Path(_unescape(place))
        if place and folder.is_relative_to(mounted):
            here = (len(mounted.parts), kind)
            found = here if found is None or here[0] >= found[0] else found  # the last one covers others
    kind = found[1] if found is not None else ""
    return kind if kind in _NETWORK or kind in _NETWORK_FUSE else None


def _unescape(place: str) -> str:
    """Returns a path of the list, in which spaces, tabs, line breaks and backslashes are octal."""
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), place)
