"""Images mounted with an overlay: what is written is there, and the image is as it was."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import mmap
import os
import random
import re
import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest

from support import tree
from support.images import MIB, blank, tool
from support.machine import NOBODY_UID, needs_root, outcome, run
from support.mounted_image import Mounted, kill, make_fat, readers_of, unmount, user_of
from support.odd_tree import SECOND, Wants, build
from support.volume import as_user_prefix, twinfs_command, wait_until

pytestmark = needs_root  # for owners and nodes in the images

WANTS = Wants(
    entries=60,
    depth=8,
    has_large_sparse=False,
    long_xattr_bytes=500,
    times=(1_600_000_000 * SECOND, -86_400 * SECOND, 2_000_000_000 * SECOND),
)
OLD_ONLY = frozenset({"old_only"})
"""Times that a test did not set, or the image did not have, differ between two runs."""
REMADE = OLD_ONLY | {"blocks", "mtime_ns"}


def ext4(path: Path, source: Path, size_bytes: int = 64 * MIB) -> Path:
    tool("mkfs.ext4", "-q", "-F", "-d", source, blank(path, size_bytes))
    return path


@pytest.fixture(scope="module")
def image(module_workspace: Path) -> Path:
    """ext4 with the odd tree; every test that uses it finds it unchanged."""
    build(module_workspace / "tree", WANTS)
    return ext4(module_workspace / "disk.img", module_workspace / "tree")


@pytest.fixture
def overlay(workspace: Path) -> Path:
    return workspace / "overlay"


@pytest.fixture
def overlaid(mount, image: Path, overlay: Path):
    """Mounts the image with the overlay, again and again; in the end the image is what it was."""
    before = hashlib.sha256(image.read_bytes()).hexdigest()
    made: list[Mounted] = []

    def mounted() -> Mounted:
        made.append(mount(image, words=("--overlay", overlay)))
        return made[-1]

    yield mounted
    assert hashlib.sha256(image.read_bytes()).hexdigest() == before
    assert all("Traceback" not in each.log.read_text() for each in made)


def extracted(image: Path, place: Path, *words: str | Path) -> Path:
    """A plain copy of what is in an image of one file system."""
    run(*twinfs_command(), "image", "extract", *words, image, "/p0", place)
    return place


# What is written is there


def change_much(root: Path) -> None:
    """The same calls on a mount and on a plain copy. Names as bytes."""
    base = os.fsencode(root)
    with open(root / "large", "r+b") as file:
        file.seek(100_000)
        file.write(b"changed in the middle")
        file.truncate(2_000_000)
        file.seek(2_500_000)
        file.write(b"beyond a hole")
    (root / "small").write_text("cut and written\n")
    with open(root / "holes", "ab") as file:
        file.write(b"appended")
    os.link(root / "third_name", root / "fourth_name")
    os.unlink(root / "dir" / "second_name")
    os.rename(root / "deep" / "d", root / "moved")
    os.mkdir(root / "deep" / "d")
    (root / "deep" / "d" / "new").write_bytes(b"in a directory of the same name")
    os.rename(root / "empty", root / "one_block")
    os.rename(base + b"/names/\xff\xfe raw \x80", base + b"/names/\xfd\nother")
    os.symlink(b"\xff\xfe", base + b"/names/link")
    for number in range(0, WANTS.entries, 2):
        os.unlink(root / "many" / f"entry number {number:05d}.txt")
    run("rm", "-rf", root / "moved" / "d")
    os.chmod(root / "holes", 0o604)
    os.chown(root / "short_link", 7, 8, follow_symlinks=False)
    os.utime(root / "holes", ns=(5 * SECOND + 1, 6 * SECOND + 2))
    os.setxattr(root / "dir", "user.new", b"\0value")
    os.removexattr(root / "large", "trusted.secret")
    os.mkfifo(root / "names" / "fifo")
    os.mknod(root / "null", 0o20666, os.makedev(1, 3))
    os.utime(root / "large", ns=(SECOND, SECOND))


def test_the_same_calls_end_equal_on_a_plain_copy(overlaid, image, overlay, workspace):
    plain = extracted(image, workspace / "plain")
    mounted = overlaid()
    for root in (plain, mounted.path / "p0"):
        change_much(root)
    tree.assert_same(plain, mounted.path / "p0", ignore=OLD_ONLY)
    unmount(mounted, overlay)

    again = overlaid()
    tree.assert_same(plain, again.path / "p0", ignore=OLD_ONLY)
    unmount(again, overlay)

    copied = extracted(image, workspace / "changed", "--overlay", overlay)
    tree.assert_same(plain, copied, ignore=REMADE)
    made = ext4(workspace / "new.img", copied)
    tree.assert_same(copied, extracted(made, workspace / "of_new"), ignore=REMADE)


class Model:
    """Random calls on two directories at once; each must answer alike."""

    def __init__(self, plain: Path, changed: Path, seed: int) -> None:
        self._roots = (os.fsencode(plain), os.fsencode(changed))
        self._chance = random.Random(seed)

    def _paths(self) -> list[bytes]:
        """Of the plain one, relative, sorted: the same in every run."""
        base = self._roots[0]
        found = []
        for directory, names, files in os.walk(base):
            found += [(directory + b"/" + name)[len(base) + 1 :] for name in (*names, *files)]
        return sorted(found)

    def _new_name(self) -> bytes:
        paths = [b"", *self._paths()]
        directories = [path for path in paths if os.path.isdir(self._roots[0] + b"/" + path)]
        name = self._chance.choice((b"a", b"b", b"\xff", b"new\nline", b"n" * 255, b"small", b"d"))
        return os.path.join(self._chance.choice(directories), name)

    def step(self) -> None:
        one, other = self._chance.choice(self._paths()), self._chance.choice(self._paths())
        new, at = self._new_name(), self._chance.randrange(400_000)
        data = self._chance.randbytes(self._chance.choice((1, 100, 5000, 70_000, 200_000)))
        call = self._chance.choice((self.write, self.write, self.cut, self.remove, self.rename, self.rename,
                                    self.over, self.link, self.make, self.list, self.attributes))  # fmt: skip
        seen = [outcome(call, root, one, other, new, at, data) for root in self._roots]
        assert seen[0] == seen[1], (call.__name__, one, other, new, at)

    @staticmethod
    def write(root: bytes, one: bytes, other: bytes, new: bytes, at: int, data: bytes) -> object:
        path = root + b"/" + (one if at % 3 else new)
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | (0 if at % 3 else os.O_CREAT), 0o640)
        try:
            os.pwrite(fd, data, at)
            return os.fstat(fd).st_size, os.pread(fd, 300_000, max(0, at - 1000))
        finally:
            os.close(fd)

    @staticmethod
    def cut(root: bytes, one: bytes, other: bytes, new: bytes, at: int, data: bytes) -> object:
        path = root + b"/" + one
        fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | (os.O_TRUNC if at % 4 == 0 else 0))
        try:
            os.ftruncate(fd, at)
        finally:
            os.close(fd)
        return os.lstat(path).st_size

    @staticmethod
    def remove(root: bytes, one: bytes, other: bytes, new: bytes, at: int, data: bytes) -> object:
        path = root + b"/" + one
        return os.rmdir(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)

    @staticmethod
    def rename(root: bytes, one: bytes, other: bytes, new: bytes, at: int, data: bytes) -> object:
        return os.rename(root + b"/" + one, root + b"/" + new)

    @staticmethod
    def over(root: bytes, one: bytes, other: bytes, new: bytes, at: int, data: bytes) -> object:
        return os.rename(root + b"/" + one, root + b"/" + other)

    @staticmethod
    def link(root: bytes, one: bytes, other: bytes, new: bytes, at: int, data: bytes) -> object:
        return os.link(root + b"/" + one, root + b"/" + new, follow_symlinks=False)

    @staticmethod
    def make(root: bytes, one: bytes, other: bytes, new: bytes, at: int, data: bytes) -> object:
        return os.mkdir(root + b"/" + new) if at % 3 else os.symlink(one or b"x", root + b"/" + new)

    @staticmethod
    def list(root: bytes, one: bytes, other: bytes, new: bytes, at: int, data: bytes) -> object:
        return sorted(os.listdir(root + b"/" + one))

    @staticmethod
    def attributes(root: bytes, one: bytes, other: bytes, new: bytes, at: int, data: bytes) -> object:
        path = root + b"/" + one
        os.chown(path, at, at + 1, follow_symlinks=False)
        os.utime(path, ns=(at, at * SECOND), follow_symlinks=False)
        if not os.path.islink(path):
            os.chmod(path, at & 0o7777 | 0o700)
            os.setxattr(path, b"user.%d" % (at % 3), data[:200])
        return None


def do_as_the_model(overlaid, image, overlay, workspace, seed: int, steps: int) -> None:
    plain = extracted(image, workspace / f"plain{seed}")
    mounted = overlaid()
    for root in (plain, mounted.path / "p0"):
        # Nodes cannot be opened on a mount without devices.
        run("rm", "-rf", *(root / name for name in ("many", "fifo", "char", "block", "socket")))
    for part in range(3):
        model = Model(plain, mounted.path / "p0", seed + part)
        for _ in range(steps):
            model.step()
        tree.assert_same(plain, mounted.path / "p0", ignore=OLD_ONLY)
        if part < 2:
            (kill if part else unmount)(mounted, overlay)
            mounted = overlaid()
            tree.assert_same(plain, mounted.path / "p0", ignore=OLD_ONLY)
    unmount(mounted, overlay)
    copied = extracted(image, workspace / f"copied{seed}", "--overlay", overlay)
    tree.assert_same(plain, copied, ignore=REMADE)


def test_random_calls_answer_as_on_a_plain_copy(overlaid, image, overlay, workspace):
    do_as_the_model(overlaid, image, overlay, workspace, 1000, 100)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(0, 300, 10))
def test_many_random_calls_answer_as_on_a_plain_copy(overlaid, image, overlay, workspace, seed):
    do_as_the_model(overlaid, image, overlay, workspace, seed, 400)


def test_only_what_was_written_is_held(overlaid, overlay, workspace, mount):
    (workspace / "source").mkdir()
    (workspace / "source" / "file").write_bytes(os.urandom(20 * MIB))
    whole = ext4(workspace / "large.img", workspace / "source")
    held = workspace / "held"
    mounted = mount(whole, words=("--overlay", held))
    with open(mounted.path / "p0" / "file", "r+b") as file:
        file.seek(10 * MIB)
        file.write(b"x")
    [line] = run(*twinfs_command(), "image", "changes", held, "--json").stdout.splitlines()
    assert 0 < json.loads(line)["held_bytes"] <= MIB
    unmount(mounted, held)


def test_a_mapped_file_is_written(overlaid, overlay):
    path = overlaid().path / "p0" / "large"
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[70_000:70_005] = b"mmap!"
        mapped.flush()
    assert path.read_bytes()[70_000:70_005] == b"mmap!"


def test_names_that_differ_in_case_are_two_names(mount, overlay, workspace):
    image = make_fat(workspace / "fat", b"of the image")
    mounted = mount(image, words=("--overlay", overlay))
    top = mounted.path / "p0"
    os.unlink(top / "file.txt")
    assert outcome(os.stat, top / "FILE.TXT") == ("ENOENT", None)
    (top / "FILE.TXT").write_text("new")
    unmount(mounted, overlay)
    again = mount(image, words=("--overlay", overlay))
    assert os.listdir(again.path / "p0") == ["FILE.TXT"]
    unmount(again, overlay)


def test_what_is_no_file_system_cannot_be_written(overlaid):
    mnt = overlaid().path
    for attempt in (
        lambda: os.open(mnt / "disk.img", os.O_RDWR),
        lambda: os.truncate(mnt / "disk.img", 0),
        lambda: os.mkdir(mnt / "new"),
        lambda: os.rename(mnt / "p0", mnt / "p1"),
        lambda: os.chmod(mnt / "disk.img", 0o777),
    ):
        assert outcome(attempt) == ("EROFS", None)


# Real programs


def test_programs_work_in_it_and_what_they_made_is_sound(overlaid, overlay, workspace):
    mounted = overlaid()
    top = mounted.path / "p0"
    run("tar", "-C", top, "-cf", workspace / "some.tar", "names", "dir", "many")
    (top / "unpacked").mkdir()
    run("tar", "-C", top / "unpacked", "--xattrs", "-xpf", workspace / "some.tar")
    run("cp", "-a", top / "unpacked", top / "copied")
    run("diff", "-r", "--no-dereference", top / "names", top / "copied" / "names")
    run("sed", "-i", "s/content/matter/", top / "small")
    run("git", "init", "-q", top / "copied")
    run("git", "-C", top / "copied", "add", "many")
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    run("git", "-C", top / "copied", *who, "commit", "-q", "-m", "all")
    run("git", "-C", top / "copied", "fsck", "--strict")
    with sqlite3.connect(top / "base.db") as database:
        database.execute("CREATE TABLE t (v)")
        database.executemany("INSERT INTO t VALUES (?)", ((str(number),) for number in range(2000)))
    database.close()
    run("rm", "-rf", top / "unpacked", top / "many")
    unmount(mounted, overlay)

    top = overlaid().path / "p0"
    assert (top / "small").read_text() == "small matter\n"
    assert not run("git", "-C", top / "copied", "status", "--porcelain", "many").stdout
    run("git", "-C", top / "copied", "fsck", "--strict")
    with sqlite3.connect(top / "base.db") as database:
        assert database.execute("SELECT count(*) FROM t").fetchone() == (2000,)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    assert not (top / "many").exists()


def test_an_ordinary_user_changes_owners_too(mount, image, workspace):
    os.chmod("/dev/fuse", 0o666)
    for place in (workspace, image.parent):
        os.chmod(place, 0o777)
    for name in ("mnt", "overlay"):
        (workspace / name).mkdir()
        os.chown(workspace / name, NOBODY_UID, NOBODY_UID)
    prefix = as_user_prefix(NOBODY_UID)
    overlay = workspace / "overlay"
    mounted = mount(image, prefix=prefix, words=("--overlay", overlay))
    top = mounted.path / "p0"
    script = f"cd {top} && echo new > small && mkdir d && mv large d && rm -rf many && chown 5:6 d && ls -ln"
    listed = run(*prefix, "sh", "-c", script).stdout
    assert re.search(r" 5 +6 .* d$", listed, re.MULTILINE)
    assert run(*prefix, "cat", top / "small").stdout == "new\n"
    run(*prefix, "fusermount3", "-u", mounted.path)
    wait_until(lambda: user_of(overlay) is None, 60, "still in use")
    run(*prefix, *twinfs_command(), "image", "ls", "--overlay", overlay, image, "/p0/d/large")


# Whose changes they are


def refused(image: Path, workspace: Path, overlay: Path, mountpoint: str = "mnt_other") -> str:
    (workspace / mountpoint).mkdir(exist_ok=True)
    words = [*twinfs_command(), "image", "mount", "--overlay", overlay, image, workspace / mountpoint]
    environment = {**os.environ, "TWINFS_STATE_DIR": str(workspace)}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    return done.stderr


def test_two_mounts_do_not_share_an_overlay(overlaid, image, overlay, workspace):
    mounted = overlaid()
    assert "is in use" in refused(image, workspace, overlay)
    done = run(
        *twinfs_command(),
        "image",
        "extract",
        "--overlay",
        overlay,
        image,
        "/p0",
        workspace / "x",
        check=False,
    )
    assert "is in use" in done.stderr
    assert (mounted.path / "p0" / "small").read_text()


def test_an_overlay_belongs_to_one_image_as_it_was(mount, overlay, workspace):
    first, other = make_fat(workspace / "first", b"1"), make_fat(workspace / "other", b"2")
    mounted = mount(first, words=("--overlay", overlay))
    (mounted.path / "p0" / "file.txt").write_text("changed")
    unmount(mounted, overlay)

    assert "another image" in refused(other, workspace, overlay)
    done = run(*twinfs_command(), "image", "ls", "--overlay", overlay, other, "/p0", check=False)
    assert "another image" in done.stderr
    run("cp", "--preserve=timestamps", first, workspace / "moved")
    mounted = mount(workspace / "moved", words=("--overlay", overlay))
    assert (mounted.path / "p0" / "file.txt").read_text() == "changed"
    unmount(mounted, overlay)
    with open(first, "r+b") as file:
        file.write(file.read(1))
    assert "written to since" in refused(first, workspace, overlay)


def test_a_directory_with_other_things_is_not_taken(image, workspace):
    (workspace / "full").mkdir()
    (workspace / "full" / "file").touch()
    assert "neither empty nor" in refused(image, workspace, workspace / "full")
    assert os.listdir(workspace / "full") == ["file"]
    assert "beneath the mount point" in refused(image, workspace, workspace / "mnt_other" / "in")
    done = run(*twinfs_command(), "image", "changes", workspace / "full", check=False)
    assert done.returncode == 1


def test_an_image_that_is_rewritten_beneath_its_overlay_is_not_mixed_with_it(mount, overlay, workspace):
    image = make_fat(workspace / "image", b"old" * 10_000)
    mounted = mount(image, words=("--overlay", overlay))
    path = mounted.path / "p0" / "file.txt"
    (mounted.path / "p0" / "new").write_text("kept")
    other = make_fat(workspace / "other", b"new" * 10_000)
    with open(image, "r+b") as file:
        file.write(other.read_bytes())

    def is_refused() -> bool:
        try:
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                seen = file.read()
        except OSError as error:
            assert error.errno == errno.EIO
            return True
        assert seen == b"old" * 10_000
        return False

    wait_until(is_refused, 60, "the image's new content is shown, or the old for ever")
    assert (mounted.path / "p0" / "new").read_text() == "kept"
    wait_until(lambda: "fits no more" in mounted.log.read_text(), 60, "it is not said")


# When something dies


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


# What was changed


def test_changes_are_listed_by_path(overlaid, overlay):
    mounted = overlaid()
    top = mounted.path / "p0"
    (top / "new").mkdir()
    os.rename(top / "deep", top / "new" / "deep")
    os.unlink(top / "new" / "deep" / "d" / "d" / "d" / "d" / "d" / "d" / "d" / "d" / "bottom")
    run("sed", "-i", "s/small/little/", top / "small")
    os.chmod(top / "holes", 0o600)
    os.unlink(os.fsencode(top) + b"/names/\xff\xfe raw \x80")
    expected = [
        ("changed", "/p0/holes", None),
        ("removed", "/p0/names/\\xff\\xfe raw \\x80", None),
        ("added", "/p0/new", None),
        ("renamed", "/p0/new/deep", "/p0/deep"),
        ("removed", "/p0/new/deep" + "/d" * 8 + "/bottom", None),
        ("changed", "/p0/small", None),
    ]

    def listed() -> list[tuple[str, str, str | None]]:
        lines = run(*twinfs_command(), "image", "changes", overlay, "--json").stdout.splitlines()
        found = [json.loads(line) for line in lines]
        assert {each["type"] for each in found} == {"change"}
        return [(each["kind"], each["path"], each["old_path"]) for each in found]

    while_mounted = listed()
    unmount(mounted, overlay)
    # The inode of `small` lost a name: that shows at its others.
    assert [
        each for each in while_mounted if each[1] not in ("/p0/third_name", "/p0/dir/second_name")
    ] == expected
    assert listed() == while_mounted
    text = run(*twinfs_command(), "image", "changes", overlay).stdout
    assert "renamed /p0/deep -> /p0/new/deep\n" in text


def test_commands_see_the_image_with_its_changes(overlaid, image, overlay):
    mounted = overlaid()
    (mounted.path / "p0" / "new").write_text("new content\n")
    unmount(mounted, overlay)
    words = ("--overlay", overlay, image)
    assert run(*twinfs_command(), "image", "cat", *words, "/p0/new").stdout == "new content\n"
    assert "new" in run(*twinfs_command(), "image", "ls", *words, "/p0").stdout.splitlines()
    assert "new" not in run(*twinfs_command(), "image", "ls", image, "/p0").stdout.splitlines()
