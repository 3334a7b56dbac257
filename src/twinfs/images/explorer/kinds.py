"""Which of the library's drivers reads what, and what is particular about each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from twinfs.errors import ImageError
from twinfs.images.explorer.library import Driver, Tree, driver
from twinfs.images.explorer.numbers import ListedNumbers, Numbers, OwnNumbers

_SUBVOLUME_SHIFT: Final = 36
_MAX_SUBVOLUMES: Final = 4096


@dataclass(frozen=True, slots=True)
class Kind:
    module: str
    driver_name: str
    number: Callable[[Tree], Numbers]
    is_utf16: bool = False
    is_case_sensitive: bool = True
    has_ext_acls: bool = False
    has_packed_devices: bool = False
    """Rock Ridge has two fields for a device, and everybody writes all of dev_t into the lower one."""
    has_mac_devices: bool = False
    """As macOS counts them: eight bits of major number above 24 of minor."""
    xattr_prefix: bytes = b""
    notes: tuple[str, ...] = ()

    def load(self) -> type[Driver]:
        return driver(self.module, self.driver_name)


def _inodes(tree: Tree) -> Numbers:
    return OwnNumbers(tree, int, int)


def _ntfs(tree: Tree) -> Numbers:
    # 0 for the sequence number: the library then does not compare it.
    return OwnNumbers(tree, lambda ref: int(ref[0]), lambda number: (number, 0))


def _btrfs(tree: Tree) -> Numbers:
    """Every subvolume numbers its inodes from 256: ours are the subvolume's place here and the inode."""
    subvolumes: list[int] = []

    def to_number(ref: tuple[int, int]) -> int:
        subvolume, inode = ref
        if subvolume not in subvolumes:
            if len(subvolumes) >= _MAX_SUBVOLUMES:
                raise ImageError(f"btrfs: more than {_MAX_SUBVOLUMES} subvolumes")
            subvolumes.append(subvolume)
        if inode >= 1 << _SUBVOLUME_SHIFT:
            raise ImageError(f"btrfs: inode {inode} is out of range")
        return subvolumes.index(subvolume) << _SUBVOLUME_SHIFT | inode

    def to_ref(number: int) -> tuple[int, int]:
        place = number >> _SUBVOLUME_SHIFT
        if place >= len(subvolumes):
            raise ImageError(f"btrfs: no inode {number} is known")
        return subvolumes[place], number & (1 << _SUBVOLUME_SHIFT) - 1

    return OwnNumbers(tree, to_number, to_ref)


def _apfs(tree: Tree) -> Numbers:
    make: Any = type(tree.root().ref)
    return OwnNumbers(tree, lambda ref: int(ref.ino), make)


_EXT: Final = Kind("twinfs.images.explorer.ext", "BigallocExtDriver", _inodes, has_ext_acls=True)
_LOCAL_TIMES: Final = "times are taken for UTC: FAT does not say which time zone they are in"
_KINDS: Final = {
    "ext2": _EXT,
    "ext3": _EXT,
    "ext4": _EXT,
    "vfat": Kind(
        "fs_explorer.filesystems.fat",
        "FATDriver",
        ListedNumbers,
        is_utf16=True,
        is_case_sensitive=False,
        notes=(_LOCAL_TIMES,),
    ),
    "exfat": Kind(
        "fs_explorer.filesystems.exfat", "ExFATDriver", ListedNumbers, is_utf16=True, is_case_sensitive=False
    ),
    "ntfs": Kind("fs_explorer.filesystems.ntfs", "NTFSDriver", _ntfs, is_utf16=True, xattr_prefix=b"user."),
    "iso9660": Kind(
        "fs_explorer.filesystems.iso9660", "ISO9660Driver", ListedNumbers, has_packed_devices=True
    ),
    "udf": Kind("fs_explorer.filesystems.udf", "UDFDriver", ListedNumbers),
    "squashfs": Kind("fs_explorer.filesystems.squashfs", "SquashFSDriver", _inodes),
    "btrfs": Kind("fs_explorer.filesystems.btrfs.fs", "BtrfsDriver", _btrfs),
    "hfsplus": Kind(
        "fs_explorer.filesystems.hfsplus",
        "HFSPlusDriver",
        ListedNumbers,
        is_case_sensitive=False,
        xattr_prefix=b"user.",
    ),
    "apfs": Kind(
        "fs_explorer.filesystems.apfs.container",
        "APFSDriver",
        _apfs,
        has_mac_devices=True,
        xattr_prefix=b"user.",
    ),
}


def kind_of(name: str) -> Kind | None:
    return _KINDS.get(name)


def prepare(names: Iterable[str]) -> None:
    """Load their drivers."""
    for name in names:
        if (kind := kind_of(name)) is not None:
            kind.load()
