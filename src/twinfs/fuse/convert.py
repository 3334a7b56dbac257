"""Between pyfuse3's values and ours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pyfuse3

from twinfs.fuse.forever import FOREVER_SECONDS
from twinfs.mirror.attributes import Wanted
from twinfs.mirror.names import Caller
from twinfs.mirror.nodes import Node

PRIVILEGED_BIT: Final = 1 << 63
"""In a file handle: who opened it may write without taking set-id bits away."""
NODE_BITS: Final = PRIVILEGED_BIT - 1


def handle_of(node: Node, context: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
    bits = 0 if context.uid else PRIVILEGED_BIT
    return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(node.ident | bits))


def groups_of(context: pyfuse3.RequestContext) -> frozenset[int] | None:
    """All groups of the caller, None for root; the request itself names only one."""
    if context.uid == 0:
        return None
    try:
        status = Path(f"/proc/{context.pid}/status").read_text()
    except OSError:
        return frozenset((context.gid,))  # in another process namespace, or gone
    lines = (line.split()[1:] for line in status.splitlines() if line.startswith("Groups:"))
    return frozenset((context.gid, *map(int, next(lines, []))))


def entry_of(node: Node, status: os.stat_result) -> pyfuse3.EntryAttributes:
    """What the kernel is told of an object. The node's number is the inode number that users see."""
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = node.ident
    entry.generation = node.generation
    entry.entry_timeout = entry.attr_timeout = FOREVER_SECONDS
    entry.st_mode = status.st_mode
    entry.st_nlink = status.st_nlink
    entry.st_uid = status.st_uid
    entry.st_gid = status.st_gid
    entry.st_rdev = status.st_rdev
    entry.st_size = status.st_size
    entry.st_blksize = status.st_blksize
    entry.st_blocks = status.st_blocks
    entry.st_atime_ns = status.st_atime_ns
    entry.st_mtime_ns = status.st_mtime_ns
    entry.st_ctime_ns = status.st_ctime_ns
    return entry


def caller_of(context: pyfuse3.RequestContext) -> Caller:
    return Caller(context.uid, context.gid, context.umask)


def wanted_of(attributes: pyfuse3.EntryAttributes, fields: pyfuse3.SetattrFields) -> Wanted:
    return Wanted(
        mode=attributes.st_mode if fields.update_mode else None,
        uid=attributes.st_uid if fields.update_uid else None,
        gid=attributes.st_gid if fields.update_gid else None,
        size=attributes.st_size if fields.update_size else None,
        atime_ns=attributes.st_atime_ns if fields.update_atime else None,
        mtime_ns=attributes.st_mtime_ns if fields.update_mtime else None,
    )


def space_of(space: os.statvfs_result) -> pyfuse3.StatvfsData:
    data = pyfuse3.StatvfsData()
    data.f_bsize = space.f_bsize
    data.f_frsize = space.f_frsize
    data.f_blocks = space.f_blocks
    data.f_bfree = space.f_bfree
    data.f_bavail = space.f_bavail
    data.f_files = space.f_files
    data.f_ffree = space.f_ffree
    data.f_favail = space.f_favail
    data.f_namemax = space.f_namemax
    return data
