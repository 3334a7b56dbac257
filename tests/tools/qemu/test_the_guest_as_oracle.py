"""A Linux that can mount what this machine's may not, asked what is in an image: the same as we say?"""

from __future__ import annotations

import hashlib
import os
import random
import stat
from pathlib import Path

import pytest

from support import guest
from support.images import blank
from support.images import tool as call
from support.machine import run
from support.volume import twinfs_command

pytestmark = [pytest.mark.slow, pytest.mark.deadline(400)]

MADE_BY_THE_GUEST = {"fat": "vfat", "exfat": "exfat"}
DISCS = {
    "joliet": (("-J", "-joliet-long"), "-t iso9660 -o norock,iocharset=utf8"),
    "rock": (("-R",), "-t iso9660 -o iocharset=utf8"),
    "udf": (("-udf", "-J", "-joliet-long"), "-t udf"),
}


def build(tree: Path) -> None:
    """Names, sizes and times that all of these formats can hold."""
    chance = random.Random(9)
    for name in ("plain", "UPPER.TXT", "with space", "käse", "名前", "a" * 60, "dir/below/file", "dir/empty"):
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(chance.choice((1, 511, 512, 4097, 70_001))))
    (tree / "dir" / "empty").write_bytes(b"")
    (tree / "nothing in it").mkdir()
    for number in range(150):
        (tree / "dir" / f"one of many {number:03}").write_bytes(b"%d" % number)
    for number, path in enumerate(sorted(tree.rglob("*"))):
        os.utime(path, (1_500_000_000 + 1000 * number,) * 2)


def manifest(tree: Path) -> dict[str, tuple[str, int, int, str]]:
    """By path: kind, size of files, seconds, sha256 of files."""
    found = {}
    for path in tree.rglob("*"):
        seen = path.stat()
        is_file = stat.S_ISREG(seen.st_mode)
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if is_file else ""
        kind = "file" if is_file else "directory"
        name = str(path.relative_to(tree))
        found[name] = (kind, seen.st_size if is_file else 0, int(seen.st_mtime), digest)
    return found


def told(stats: str, digests: str) -> dict[str, tuple[str, int, int, str]]:
    """The same, from what the guest's find, stat and sha256sum wrote."""
    hashes = {name[2:]: digest for digest, name in (line.split("  ", 1) for line in digests.splitlines())}
    found = {}
    for line in stats.splitlines():
        name, kind, size, seconds = line.split("|")
        if name == ".":
            continue
        kind = kind.removeprefix("regular ").removesuffix("empty file") or "file"
        is_file = kind == "file"
        found[name[2:]] = (kind, int(size) if is_file else 0, int(seconds), hashes.get(name[2:], ""))
    return found


def test_the_kernel_of_a_guest_sees_in_each_image_what_we_see(machines):
    tree, base = machines.base / "tree", machines.base
    build(tree)
    source = blank(base / "source.img", 64 << 20)
    call("mkfs.ext4", "-q", "-F", "-d", tree, source)
    call("mkfs.vfat", "-F", "32", blank(base / "fat.img", 64 << 20))
    call("mkfs.exfat", blank(base / "exfat.img", 64 << 20))
    for name, (options, _) in DISCS.items():
        words = ("-quiet", "-input-charset", "utf-8", "-iso-level", "3", *options)
        call("genisoimage", *words, "-o", base / f"{name}.img", tree)

    names = [*MADE_BY_THE_GUEST, *DISCS]
    drives: list[str | Path] = []
    for number, name in enumerate(names):
        read_only = ",readonly=on" if name in DISCS else ""
        drives += ["-drive", f"if=none,id=more{number},format=raw,file={base}/{name}.img{read_only}"]
        drives += ["-device", f"virtio-blk,drive=more{number}"]
    guest.make_initramfs(machines.initramfs, guest.FILE_SYSTEMS)
    small = ("--memory", "256M", "--cpus", "1")
    machines.qemu("run", source, "--name", "box", "--detach", *small, *machines.linux(), *drives)
    console = machines.console("box")
    console.run(f"for name in {' '.join(guest.FILE_SYSTEMS)}; do insmod /modules/$name.ko; done")
    console.run("mkdir /image && mount -t ext4 /dev/vda /mnt")
    for letter, name in zip("bcdef", names, strict=True):
        device = f"/dev/vd{letter}"
        if name in MADE_BY_THE_GUEST:
            utf8 = ",utf8=1" if name == "fat" else ""
            console.run(f"mount -t {MADE_BY_THE_GUEST[name]} -o rw{utf8} {device} /image")
            console.run("cp -rp /mnt/* /image/ && rm -rf /image/lost+found && umount /image")
            options = f"-t {MADE_BY_THE_GUEST[name]} -o ro{utf8}"
        else:
            options = DISCS[name][1]
        console.run(f"mount {options} {device} /image")
        console.run(f"cd /image; find . -exec stat -c '%n|%F|%s|%Y' {{}} + > /stats.{name}")
        console.run(f"find . -type f -exec sha256sum {{}} + > /digests.{name}; cd /; umount /image")
    console.run("cp /stats.* /digests.* /mnt/ && umount /mnt")
    machines.qemu("stop", "box")

    for name in names:
        ours = base / f"ours-{name}"
        run(*twinfs_command(), "image", "extract", base / f"{name}.img", "/p0", ours)
        texts = [
            run(*twinfs_command(), "image", "cat", source, f"/p0/{what}.{name}").stdout
            for what in ("stats", "digests")
        ]
        seen = told(*texts)
        assert len(seen) > 160, name
        assert seen == manifest(ours), name
        assert {path: found[0::3] for path, found in seen.items()} == {
            path: found[0::3] for path, found in manifest(tree).items()
        }, name
