"""When something dies: the mount of an overlay, or the reader beneath it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess

from fuse.overlays.making import ext4
from support.machine import needs_root
from support.mounted_image import kill, readers_of, unmount
from support.volume import wait_until

pytestmark = needs_root  # for owners and nodes in the images


def test_answered_changes_survive_a_kill(overlaid, overlay):
    mounted = overlaid()
    top = mounted.path / "p0"
    (top / "new").write_text("closed")
    os.rename(top / "small", top / "dir" / "moved")
    os.unlink(top / "third_name")
    fd = os.open(top / "large", os.O_WRONLY)
    os.pwrite(fd, b"x" * 2000, 65_000)
    os.fsync(fd)
    kill(mounted, overlay)
    with contextlib.suppress(OSError):  # there is nobody to answer
        os.close(fd)
    top = overlaid().path / "p0"
    assert (top / "new").read_text() == "closed"
    assert (top / "dir" / "moved").read_text() == "small content\n"
    assert not (top / "small").exists()
    assert not (top / "third_name").exists()
    assert (top / "large").read_bytes()[65_000:67_000] == b"x" * 2000


def test_a_kill_while_files_are_written_leaves_old_or_new_bytes(overlaid, overlay, workspace, mount):
    """Each block of 4 KiB says its place: half-copied pieces would have zeros, or blocks of another place."""
    source = workspace / "source"
    source.mkdir()
    count = 2000
    (source / "file").write_bytes(b"".join(b"old %08d" % number * 340 + bytes(16) for number in range(count)))
    image = ext4(workspace / "blocks.img", source)
    held = workspace / "held"
    script = (
        "import os,sys,random\n"
        "fd=os.open(sys.argv[1],os.O_RDWR)\nrandom.seed(3)\nprint('begun',flush=True)\n"
        f"while 1:\n n=random.randrange({count})\n"
        " os.pwrite(fd,b'new %08d'%n*340+bytes(16),n*4096)\n os.fdatasync(fd) if n%64==0 else 0\n"
    )
    for _ in range(2):
        mounted = mount(image, words=("--overlay", held))
        words = ["python3", "-c", script, mounted.path / "p0" / "file"]
        writer = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert writer.stdout is not None
        writer.stdout.readline()
        wait_until(lambda: any((held / "contents").iterdir()), 60, "nothing is written")
        kill(mounted, held)
        writer.wait()
        writer.stdout.close()
        mounted = mount(image, words=("--overlay", held))
        data = (mounted.path / "p0" / "file").read_bytes()
        assert len(data) == count * 4096
        for number in range(count):
            block = data[number * 4096 : number * 4096 + 4080]
            assert block in (b"old %08d" % number * 340, b"new %08d" % number * 340), number
        unmount(mounted, held)
    assert b"new" in data


def test_a_reader_that_is_replaced_changes_nothing(overlaid, image):
    mounted = overlaid()
    top = mounted.path / "p0"
    os.link(top / "third_name", top / "more")
    (top / "third_name").write_text("by one name")
    with open(top / "large", "r+b") as file:
        file.write(b"begin")
        [reader] = readers_of(image)
        os.kill(reader, signal.SIGKILL)
        # Asked while there is none: it waits for the next one, and is told nothing of stale numbers.
        assert (top / "names" / "with space").read_text() == "with space"
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(1_000_000)
        file.write(b"after")
        file.seek(0)
        assert file.read(5) == b"begin"
    assert (top / "more").read_text() == (top / "dir" / "second_name").read_text() == "by one name"
    assert (top / "many" / "entry number 00001.txt").read_text() == "1"
