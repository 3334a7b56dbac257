"""The library's reader of ext, taught bigalloc.

Source: Documentation/filesystems/ext4/bigalloc.rst of Linux.
"""

from __future__ import annotations

import struct
from typing import Final, cast

from fs_explorer.filesystems.ext import ExtDriver, ExtFS
from fs_explorer.io.source import RandomAccess
from fs_explorer.tree import Context, ProbeHint

_BLOCKS_PER_GROUP_AT: Final = 0x20
_RO_COMPAT_AT: Final = 0x64
_BIGALLOC: Final = 0x200
_META_BG: Final = 0x10


class BigallocExtFS(ExtFS):
    """With bigalloc a bitmap's bit stands for a cluster of blocks, so a group has more blocks than bits."""

    def _parse_super(self, sb: bytes) -> None:
        (features,) = struct.unpack_from("<I", sb, _RO_COMPAT_AT)
        if not features & _BIGALLOC:
            super()._parse_super(sb)
            return
        (per_group,) = struct.unpack_from("<I", sb, _BLOCKS_PER_GROUP_AT)
        # The library compares it with the bits of a bitmap: it sees one that fits, then has the true one.
        fitting = bytearray(sb)
        struct.pack_into("<I", fitting, _BLOCKS_PER_GROUP_AT, min(per_group, 1024 * 8))
        super()._parse_super(bytes(fitting))
        self.blocks_per_group = per_group
        self.groups = -(-(self.blocks_count - self.first_data_block) // per_group)

    def _desc_block_no(self, idx: int) -> int:
        # With blocks of 1 KiB the superblock is in block 1, and that counts to the first group here.
        has_gap = self.bs == 1024 and self.first_data_block == 0
        is_moved = has_gap and (idx == 0 or not self.incompat & _META_BG)
        return super()._desc_block_no(idx) + int(is_moved)


class BigallocExtDriver(ExtDriver):
    @classmethod
    def open(cls, ra: RandomAccess, ctx: Context, hint: ProbeHint) -> ExtFS:
        return cast(ExtFS, BigallocExtFS(ra, ctx))
