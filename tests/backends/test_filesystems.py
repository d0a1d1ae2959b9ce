"""Which file system a folder is on."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from mlcache import MlcacheWarning
from mlcache.backends import filesystems
from mlcache.backends.disk import Disk
from mlcache.backends.filesystems import kind_of, shared_kind
from mlcache.backends.mapped import SMALLEST
from mlcache.testing.backends import key

MOUNTS = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw,discard
36 27 0:40 / /home rw,relatime shared:3 - nfs4 server:/home rw,vers=4.2
37 36 0:41 / /home/mine rw,relatime - xfs /dev/vdb rw
38 27 0:42 / /mnt/my\040share rw,relatime - cifs //server/share rw
39 27 0:43 / /over rw - ext4 /dev/vdc rw
40 39 0:44 / /over rw - nfs server:/over rw
a line that is none
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/", "ext4"),
        ("/var/cache", "ext4"),
        ("/home", "nfs4"),
        ("/home/other/.cache", "nfs4"),
        ("/homely", "ext4"),
        ("/home/mine/.cache", "xfs"),
        ("/mnt/my share/cache", "cifs"),
        ("/over/it", "nfs"),
    ],
)
def test_the_mount_nearest_to_the_folder_counts(folder: str, kind: str) -> None:
    assert kind_of(Path(folder), MOUNTS) == kind


def test_without_mounts_nothing_is_known() -> None:
    assert kind_of(Path("/var"), "") is None
    assert kind_of(Path("/var"), "\n\n - nfs") is None


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A list of mounts of the test's own."""
    file = tmp_path / "mountinfo"
    monkeypatch.setattr(filesystems, "MOUNTS", file)
    return file


def test_a_link_leads_to_where_the_folder_is(tmp_path: Path, mounts: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far")
    mounts.write_text(f"1 1 0:1 / / rw - ext4 a rw\n2 1 0:2 / {tmp_path}/far rw - smb3 b rw\n")
    assert shared_kind(tmp_path / "near") == "smb3"
    assert shared_kind(tmp_path) is None


def test_where_there_is_no_list_nothing_is_known(tmp_path: Path, mounts: Path) -> None:
    assert not mounts.exists()
    assert shared_kind(tmp_path) is None


def test_a_folder_that_hosts_share_is_warned_about_once_and_not_mapped(tmp_path: Path, mounts: Path) -> None:
    mounts.write_text(f"1 1 0:1 / {tmp_path} rw - nfs4 server:/x rw\n")
    disk = Disk(tmp_path / "cache", max_bytes=2**24)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number in range(3):
            disk.put(key(number), bytes(SMALLEST), float("inf"))
            assert type(disk.get(key(number))) is bytes
            disk.close()
    (warning,) = caught
    assert warning.category is MlcacheWarning
    assert "nfs4" in str(warning.message)
    assert str(disk.directory) in str(warning.message)


def test_a_folder_of_this_machine_is_not_warned_about(tmp_path: Path, mounts: Path) -> None:
    mounts.write_text("1 1 0:1 / / rw - ext4 a rw\n")
    disk = Disk(tmp_path / "cache", max_bytes=2**24)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        disk.put(key(1), b"data", float("inf"))
    assert [str(warning.message) for warning in caught] == []
    assert disk.get(key(1)) == b"data"
    disk.close()
