"""Which folders are on network file systems, by a list as Linux has it."""

from pathlib import Path

import pytest
from lookalike_ingest.watching.network_file_systems import find_network_file_system

MOUNTS = r"""/dev/sda1 / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
server:/photos /srv/photos nfs4 rw,vers=4.2 0 0
/dev/sdb1 /srv/photos/local ext4 rw 0 0
//nas/share /mnt/with\040space cifs rw 0 0
me@host: /home/me/remote fuse.sshfs rw 0 0
broken
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/srv/photos/cats", "nfs4"),
        ("/srv/photos", "nfs4"),
        ("/srv/photos/local/cats", None),
        ("/srv/photoshop", None),
        ("/mnt/with space/cats", "cifs"),
        ("/home/me/remote", "fuse.sshfs"),
        ("/home/me", None),
    ],
)
def test_the_nearest_mount_decides(tmp_path: Path, folder: str, kind: str | None) -> None:
    """Disks may be mounted inside of others."""
    (tmp_path / "mounts").write_text(MOUNTS)
    assert find_network_file_system(Path(folder), tmp_path / "mounts") == kind


def test_nothing_is_known_without_the_list(tmp_path: Path) -> None:
    """Other systems than Linux have none."""
    assert find_network_file_system(tmp_path, tmp_path / "none") is None
