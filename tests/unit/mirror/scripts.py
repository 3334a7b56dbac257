"""What users do to a volume while it is killed. Each script is a few changes that touch each other."""

from __future__ import annotations

import errno
import os
import struct

import trio

from twinfs.fsio.syscalls import RENAME_EXCHANGE
from twinfs.mirror.attributes import Wanted
from twinfs.mirror.names import Caller
from twinfs.model import Mode
from unit.mirror.kit import User

OTHER = Caller(1234, 2345, 0o027)
"""Somebody who is not the daemon: new files change hands."""


def default_acl() -> bytes:
    no_one = 0xFFFFFFFF
    entries = [(0x01, 7, no_one), (0x02, 5, 4321), (0x04, 5, no_one), (0x10, 7, no_one), (0x20, 0, no_one)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


async def create(user: User) -> None:
    await user.put("new", b"n" * 5000)
    await user.put("d/deep/new", b"")
    await user.mkdir("e/directory", 0o750)
    await user.symlink("e/directory/symlink", b"../../a")


async def create_in_shared_directories(user: User) -> None:
    await user.put("shared/set-gid", b"x")
    await user.set_xattr("e", b"system.posix_acl_default", default_acl())
    await user.put("e/with-acl", b"x")
    await user.mkdir("e/directory")


async def create_as_another_user(user: User) -> None:
    user.caller = OTHER
    await user.put("d/theirs", b"x" * 100)
    await user.mkdir("shared/theirs")


async def create_where_something_is(user: User) -> None:
    for path in ("empty", "a", "d"):
        for attempt in (user.create(path, 0o600), user.mkdir(path, 0o700)):
            try:
                await attempt
            except FileExistsError:
                continue


async def rename(user: User) -> None:
    await user.write("a", 100, b"changed")
    await user.rename("a", "d/a")
    await user.rename("d", "e/d")
    await user.rename("b", "e/d/a")


async def rename_what_was_just_written(user: User) -> None:
    await user.write("d/deep/f", 0, b"changed")
    await user.rename("d/deep", "e/deep")
    await user.rename("e/deep/f", "b")


async def replace_by_temporary(user: User) -> None:
    await user.put("b.tmp", b"B" * 4000)
    await user.rename("b.tmp", "b")
    await user.put("b.tmp", b"C" * 2000)
    await user.rename("b.tmp", "b")


async def rotate(user: User) -> None:
    await user.unlink("b")
    await user.rename("a", "b")
    await user.put("a", b"fresh")
    await user.rename("twin", "a")


async def exchange(user: User) -> None:
    await user.write("a", 0, b"A")
    await user.rename("a", "d", RENAME_EXCHANGE)
    await user.rename("a/deep", "b", RENAME_EXCHANGE)
    await user.write("d", 5000, b"more")


async def exchange_back(user: User) -> None:
    await user.rename("a", "b", RENAME_EXCHANGE)
    await user.rename("b", "a", RENAME_EXCHANGE)
    await user.rename("a", "e", RENAME_EXCHANGE)


async def unlink(user: User) -> None:
    await user.write("a", 0, b"last words")
    await user.unlink("a")
    await user.write("twin", 50, b"kept by the other name")
    await user.unlink("twin")
    await user.unlink("d/deep/f")
    await user.rmdir("d/deep")


async def link(user: User) -> None:
    await user.link("a", "e/a")
    await user.write("e/a", 0, b"through the new name")
    await user.link("d/twin", "e/triplet")
    await user.unlink("a")


async def write(user: User) -> None:
    await user.write("a", 5000, b"w" * 300)
    await user.write("a", 20_000, b"far behind the end")
    await user.write("b", 0, b"L" * 200_000)
    await user.write("twin", 0, b"both names")


async def truncate(user: User) -> None:
    await user.truncate("a", 10)
    await user.truncate("b", 100_000)
    await user.write("b", 90_000, b"in the hole")
    await user.truncate("d/twin", 0)


async def set_attributes(user: User) -> None:
    await user.change("a", Wanted(mode=0o4711))
    await user.change("b", Wanted(atime_ns=1, mtime_ns=2 * 10**9))
    await user.change("d", Wanted(mode=0o700, mtime_ns=3 * 10**9))
    await user.set_xattr("twin", b"user.colour", b"red")
    await user.set_xattr("e", b"user.colour", b"blue")
    if os.geteuid() == 0:
        await user.change("link", Wanted(uid=1234, gid=2345))


async def come_and_go(user: User) -> None:
    for name in ("t1", "t2", "t1"):
        await user.put(name, b"passing")
        await user.unlink(name)
    await user.put("t1", b"passing")
    await user.rename("t1", "b")
    await user.unlink("b")
    await user.put("b", b"stays")


async def write_new(user: User) -> None:
    for name in ("n1", "n2"):
        await user.put(name, b"x" * 3000)
        await user.write(name, 100, b"y")
        await user.truncate(name, 50)
    await user.unlink("n1")


async def move_new(user: User) -> None:
    await user.mkdir("m1")
    await user.mkdir("m2")
    await user.put("m1/f", b"x")
    await user.rename("m1", "m2", RENAME_EXCHANGE)
    await user.link("m2/f", "m1/g")
    await user.unlink("m2/f")
    await user.rename("m1", "m2")


async def make_durable(user: User) -> None:
    volume = user.volume
    node = await user.create("durable")
    await volume.content.write(node, 0, b"d" * 3000)
    await volume.content.fsync(node, is_data_only=False)
    await volume.content.write(node, 1000, b"not durable")
    await volume.content.fsync_directory(user.lookup("e"))
    volume.content.release(node)
    await user.rename("durable", "b")
    await volume.content.fsync_directory(user.lookup(""))


async def change_modes(user: User) -> None:
    volume = user.volume
    for number, mode in enumerate((Mode.BATCHED, Mode.SYNC, Mode.BATCHED)):
        await user.write("a", 0, mode.encode())
        await user.rename("b", "e/b")
        await volume.set_mode(mode, None, None)
        await user.rename("e/b", "b")
        await user.put(f"new{number}", mode.encode())


async def lose_the_secondary_and_get_it_back(user: User) -> None:
    volume = user.volume
    await user.write("a", 0, b"before")
    volume.core.secondary_failed(OSError(errno.EIO, os.strerror(errno.EIO)))
    await user.write("a", 100, b"meanwhile")
    await user.rename("a", "e/a")
    await user.rename("b", "a")
    await user.put("b", b"another")
    await volume.sync()
    await user.write("e/a", 200, b"afterwards")
    await user.rename("e/a", "d/deep/a")


async def compare_while_names_change(user: User) -> None:
    volume = user.volume
    async with trio.open_nursery() as nursery:
        await nursery.start(volume.run)
        await user.rename("a", "e/a")
        volume.core.compare_later(b"")
        await user.write("e/a", 10, b"while comparing")
        await user.rename("e", "d/e")
        volume.core.compare_later(b"d")
        await user.rename("d/e/a", "a")
        await user.put("d/e/a", b"another")
        await volume.sync()
        nursery.cancel_scope.cancel()


ALL = (
    create,
    create_in_shared_directories,
    create_where_something_is,
    rename,
    rename_what_was_just_written,
    replace_by_temporary,
    rotate,
    exchange,
    exchange_back,
    unlink,
    link,
    write,
    truncate,
    set_attributes,
    come_and_go,
    make_durable,
    change_modes,
    lose_the_secondary_and_get_it_back,
    compare_while_names_change,
    *((create_as_another_user,) if os.geteuid() == 0 else ()),
)
