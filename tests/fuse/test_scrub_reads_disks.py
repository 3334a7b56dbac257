"""What a scrub reads is the disk: not the page cache, and not what a disk refuses to give."""

from __future__ import annotations

import os

from support.machine import needs_root
from support.scrubbing import (
    judged,
    scrub,
)


@needs_root
def test_flips_in_the_disk_image_are_found(new_volume, new_disk):
    """Below the file system, while the disk is out: neither times nor caches tell."""
    disks = [new_disk(name, size_bytes=64 << 20) for name in ("one", "two")]
    for disk in disks:
        (disk.path / "leg").mkdir()
    volume = new_volume("sync", legs=(disks[0].path / "leg", disks[1].path / "leg")).init().mount_it()
    marks = {f"file-{number}": b"mark-%06d-" % number * 800 for number in range(30)}
    for name, content in marks.items():
        (volume.mount / name).write_bytes(content)
    scrub(volume, expect=0)
    volume.umount()
    planted = {}
    for disk, role, chosen in zip(disks, ("primary", "secondary"), (range(3), range(7, 12)), strict=True):
        disk.take_out()
        image = bytearray(disk.image.read_bytes())
        for number in chosen:
            at = image.index(b"mark-%06d-" % number * 20)
            image[at + 123] ^= 1
            planted[f"file-{number}"] = ("content", role)
        disk.image.write_bytes(image)
        disk.put_in()
    found, summary = scrub(volume, "--repair", expect=1)
    assert judged(found) == planted
    assert summary["read"] == {"primary": "direct", "secondary": "direct"}
    for leg in (volume.primary, volume.secondary):
        for name, content in marks.items():
            assert (leg / name).read_bytes() == content
    scrub(volume, expect=0)


@needs_root
def test_it_reads_the_disk_and_not_the_page_cache(new_volume, new_disk):
    """The image is changed beneath a mounted file system, whose cache still has the right bytes."""
    disks = [new_disk(name, size_bytes=64 << 20) for name in ("one", "two")]
    for disk in disks:
        (disk.path / "leg").mkdir()
    volume = new_volume("sync", legs=(disks[0].path / "leg", disks[1].path / "leg")).init().mount_it()
    (volume.mount / "file").write_bytes(b"a file in the cache " * 1000)
    scrub(volume, expect=0)
    content = (volume.secondary / "file").read_bytes()
    image = disks[1].image
    at = image.read_bytes().index(b"a file in the cache " * 100)
    with open(image, "r+b") as raw:
        raw.seek(at)
        raw.write(b"A")
        os.fsync(raw.fileno())
    assert (volume.secondary / "file").read_bytes() == content, "or this test tests nothing"
    found, _ = scrub(volume, "--repair", expect=1)
    assert judged(found) == {"file": ("content", "secondary")}
    scrub(volume, expect=0)


@needs_root
def test_what_a_disk_does_not_give_is_bad_there(new_volume, new_disk):
    """The loop device's file ends before the last blocks of the file system: EIO, as from a bad sector."""
    disks = [new_disk(name, size_bytes=64 << 20) for name in ("one", "two")]
    for disk in disks:
        (disk.path / "leg").mkdir()
    volume = new_volume("sync", legs=(disks[0].path / "leg", disks[1].path / "leg")).init().mount_it()
    (volume.mount / "first").write_bytes(b"readable" * 1000)
    (volume.mount / "large").write_bytes(b"refused " * (1 << 20))
    volume.umount()
    image = disks[1].image
    end = image.stat().st_size
    content = image.read_bytes()
    at = content.index(b"refused " * 1000) + (1 << 20)
    os.truncate(image, at)
    try:
        found, _ = scrub(volume, expect=4)
        assert judged(found) == {"large": ("content", "secondary")}
        assert "cannot be read: Input/output error" in found[0]["detail"]
    finally:
        with open(image, "r+b") as raw:
            raw.seek(at)
            raw.write(content[at:])
    assert image.stat().st_size == end
    scrub(volume, expect=0)
