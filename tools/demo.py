"""Shows twinfs at work on two scratch folders, through the same commands that you would type.

`make demo` runs it. It needs no root, touches nothing but a folder of its own in $TMPDIR, and leaves
nothing behind: no mount, no process, no file, whether it succeeds, fails or is interrupted.

Each step is a function of STEPS; one that finds something wrong raises DemoError.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

NAME = "demo"
TWINFS = Path(sys.executable).parent / "twinfs"
MIB = 1 << 20


class DemoError(Exception):
    """What the demo meant to show did not happen."""


class Stage:
    """The scratch folder, and the commands run in it."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.primary = scratch / "primary"
        self.secondary = scratch / "secondary"
        self.mountpoint = scratch / "volume"
        # Nothing of a real installation is read or written.
        self.own_dirs = {
            "TWINFS_CONFIG_DIR": str(scratch / "config"),
            "TWINFS_STATE_DIR": str(scratch / "state"),
            "TWINFS_RUN_DIR": str(scratch / "run"),
            "TWINFS_SYSLOG": "",
        }

    def twinfs(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> None:
        """Run a command and show it with what it prints, on either stream; it ends with one of `codes`."""
        say(f"$ {shlex.join(['twinfs', *arguments])}")
        done = self._run(*arguments, stderr=subprocess.STDOUT)
        for line in done.stdout.splitlines():
            say(f"  {line}")
        if done.returncode not in codes:
            raise DemoError(f"twinfs {arguments[0]} ended with exit code {done.returncode}")

    def status(self) -> dict[str, Any]:
        done = self._run("status", NAME, "--json", stderr=subprocess.PIPE)
        try:
            found: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            raise DemoError(f"twinfs status --json said: {done.stdout}{done.stderr}") from None
        return found

    def _run(self, *arguments: str, stderr: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [TWINFS, *arguments],
            env={**os.environ, **self.own_dirs},
            cwd=self.scratch,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            timeout=120,
            check=False,
        )


def say(text: str) -> None:
    print(f"   {text}" if text else "", flush=True)


def heading(text: str) -> None:
    print(f"\n== {text}", flush=True)


def set_up_volume(stage: Stage) -> None:
    heading("Two folders stand in for two disks; label them as the legs of a volume")
    for folder in (stage.primary, stage.secondary, stage.mountpoint):
        folder.mkdir()
    stage.twinfs("init", "primary", "secondary", "--name", NAME, "--mode", "sync")


def mount(stage: Stage) -> None:
    heading("Mount it")
    stage.twinfs("mount", NAME, "volume")
    if not mounts_below(stage.scratch):
        raise DemoError(f"{stage.mountpoint} is not in the mount table")
    # The two folders are compared once, in the background: until then an answer is the primary's alone.
    stage.twinfs("sync", NAME)


def write_files(stage: Stage) -> None:
    heading("Write to it what copies tend to lose")
    volume = stage.mountpoint
    letters = volume / "letters"
    letters.mkdir()
    note = letters / "note.txt"
    note.write_text("Both disks have this.\n")
    note.chmod(0o640)
    os.utime(note, ns=(1_000_000_000_123_456_789, 1_000_000_000_123_456_789))
    os.link(note, letters / "the same file.txt")
    (volume / "newest").symlink_to("letters/note.txt")
    say("a file with its own mode and a time to the nanosecond, a hard link to it, a symbolic link")
    with (volume / "disk.img").open("wb") as image:
        image.truncate(64 * MIB)
        image.seek(32 * MIB)
        image.write(os.urandom(MIB))
    say("a file of 64 MiB with 1 MiB in it, the rest a hole")
    if set_xattr(note, "user.origin", b"demo"):
        say("an extended attribute")
    for number in range(200):
        (letters / f"{number:03}").write_text(f"letter {number}\n")
    os.rename(letters, volume / "post")
    say("200 more files, then their folder renamed")


def compare_legs(stage: Stage) -> None:
    heading("Compare the folders beneath: sync mode answered when both had it")
    expect_equal(stage, folder_times=False)
    allocated = (stage.secondary / "disk.img").stat().st_blocks * 512
    say(f"disk.img takes {allocated // 1024} KiB on the secondary: the hole stayed a hole")


def switch_to_batched(stage: Stage) -> None:
    heading("Let the secondary follow in batches instead, while mounted")
    stage.twinfs("mode", NAME, "batched", "--interval", "1h")
    (stage.mountpoint / "later.txt").write_text("The secondary gets this with the next batch.\n")
    os.rename(stage.mountpoint / "post", stage.mountpoint / "archive")
    if (stage.secondary / "later.txt").exists() or not (stage.secondary / "post").exists():
        raise DemoError("the secondary was changed at once")
    pending = stage.status()["pending"]
    say(f"a file written, a folder renamed: {pending['changes']} changes pending, the secondary is as it was")
    stage.twinfs("sync", NAME)
    expect_equal(stage)


def switch_to_sync(stage: Stage) -> None:
    heading("And back")
    stage.twinfs("mode", NAME, "sync")
    (stage.mountpoint / "now.txt").write_text("On both when close() returns.\n")
    expect_equal(stage, folder_times=False)


def take_a_leg_away(stage: Stage) -> None:
    heading("Take the secondary's disk away, work on, and put it back")
    stage.twinfs("detach", NAME)
    away = stage.scratch / "on the shelf"
    stage.secondary.rename(away)
    stage.secondary.mkdir()
    (stage.mountpoint / "meanwhile.txt").write_text("Written while one disk was away.\n")
    (stage.mountpoint / "now.txt").rename(stage.mountpoint / "then.txt")
    if any(stage.secondary.iterdir()):
        raise DemoError("something was written to the empty folder")
    say(f"two changes wait; {stage.status()['legs'][1]['state']}: the empty folder there is not touched")
    stage.secondary.rmdir()
    away.rename(stage.secondary)
    stage.twinfs("attach", NAME)
    expect_equal(stage)


def let_a_disk_rot(stage: Stage) -> None:
    heading("Let one disk lose a bit, unnoticed, and scrub")
    stage.twinfs("scrub", NAME)
    victim = stage.secondary / "archive/007"
    before = victim.stat()
    victim.write_bytes(victim.read_bytes().replace(b"7", b"1"))
    os.utime(victim, ns=(before.st_atime_ns, before.st_mtime_ns))
    say("secondary/archive/007: one byte changed beneath the volume, size and time as before")
    stage.twinfs("scrub", NAME, "--repair", codes=(0, 1))
    expect_equal(stage)


def show_status(stage: Stage) -> None:
    heading("What it says about itself, once everything is on both disks for good")
    stage.twinfs("sync", NAME)
    stage.twinfs("status", NAME)
    stage.twinfs("events", NAME)


def unmount(stage: Stage) -> None:
    heading("Unmount: two folders of plain files, either enough by itself")
    stage.twinfs("umount", NAME)
    if mounts_below(stage.scratch):
        raise DemoError(f"{stage.mountpoint} is still mounted")
    expect_equal(stage)
    say(f"secondary/then.txt: {(stage.secondary / 'then.txt').read_text().strip()}")


STEPS: tuple[Callable[[Stage], None], ...] = (
    set_up_volume,
    mount,
    write_files,
    compare_legs,
    switch_to_batched,
    switch_to_sync,
    take_a_leg_away,
    let_a_disk_rot,
    show_status,
    unmount,
)


# --- comparing, without help from what is being shown ---------------------------------------------


def expect_equal(stage: Stage, *, folder_times: bool = True) -> None:
    """Times of folders reach the secondary a moment after what changed them, and surely with a sync."""
    primary = describe_tree(stage.primary, folder_times)
    secondary = describe_tree(stage.secondary, folder_times)
    for path in sorted(primary.keys() | secondary.keys()):
        if primary.get(path) != secondary.get(path):
            raise DemoError(
                f"the legs differ at {path}:\n"
                f"      primary    {primary.get(path)}\n      secondary  {secondary.get(path)}"
            )
    times = "times" if folder_times else "files' times"
    say(f"equal: {len(primary)} files and folders: content, modes, owners, {times}, links, attributes")


def describe_tree(root: Path, folder_times: bool) -> dict[str, tuple[object, ...]]:
    """What must be equal, by path. The leg's own label folder at the root is no part of the volume."""
    entries: dict[str, tuple[object, ...]] = {}
    first_name: dict[int, str] = {}
    for folder, subfolders, names in os.walk(root):
        if Path(folder) == root and ".twinfs" in subfolders:
            subfolders.remove(".twinfs")
        subfolders.sort()
        for name in sorted(subfolders + names):
            path = Path(folder, name)
            relative = str(path.relative_to(root))
            look = path.lstat()
            linked_to = first_name.setdefault(look.st_ino, relative)
            entries[relative] = (
                stat.filemode(look.st_mode),
                (look.st_uid, look.st_gid),
                look.st_mtime_ns if folder_times or not stat.S_ISDIR(look.st_mode) else None,
                linked_to,
                content(path, look.st_mode),
                attributes(path),
            )
    return entries


def content(path: Path, mode: int) -> str:
    if stat.S_ISLNK(mode):
        return os.readlink(path)
    if stat.S_ISREG(mode):
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return ""


def attributes(path: Path) -> dict[str, bytes]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return {}
        raise
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}


def set_xattr(path: Path, name: str, value: bytes) -> bool:
    """False where the file system under $TMPDIR has no extended attributes."""
    try:
        os.setxattr(path, name, value)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return False
        raise
    return True


# --- leaving nothing behind -----------------------------------------------------------------------


def mounts_below(folder: Path) -> list[str]:
    """Mount points in or below `folder`, the deepest last; see proc_pid_mountinfo(5) for the escapes."""
    found = []
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        point = os.fsdecode(line.split(b" ")[4].decode("unicode_escape").encode("latin-1"))
        if Path(point).is_relative_to(folder):
            found.append(point)
    return sorted(found)


def processes_of(stage: Stage) -> list[int]:
    """Daemons started by the demo: they carry its state directory in their environment."""
    mark = os.fsencode(f"TWINFS_STATE_DIR={stage.own_dirs['TWINFS_STATE_DIR']}\0")
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue  # ended meanwhile, or another user's
    return found


def wait_for_end(stage: Stage, seconds: float) -> list[int]:
    deadline = time.monotonic() + seconds
    while (left := processes_of(stage)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def clear_away(stage: Stage) -> None:
    for point in reversed(mounts_below(stage.scratch)):
        command = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount3", "-u", "-z"]
        subprocess.run([*command, point], check=False)
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        for pid in wait_for_end(stage, 10):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal_number)
    wait_for_end(stage, 10)
    left = mounts_below(stage.scratch)
    if left:
        # Deleting now would delete through the mount.
        raise DemoError(f"cannot unmount {', '.join(left)}; left it and {stage.scratch} as they are")
    shutil.rmtree(stage.scratch)


@contextlib.contextmanager
def scratch_stage() -> Iterator[Stage]:
    stage = Stage(Path(tempfile.mkdtemp(prefix="twinfs-demo-")).resolve())
    try:
        yield stage
    except BaseException:
        show_daemon_log(stage)
        raise
    finally:
        # An impatient second Ctrl-C must not leave half of it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        clear_away(stage)


def show_daemon_log(stage: Stage) -> None:
    for log in (stage.scratch / "state").glob("*/daemon.log"):
        for line in log.read_text(errors="replace").splitlines()[-20:]:
            print(f"   {log.name}: {line}", file=sys.stderr)


# --- running --------------------------------------------------------------------------------------


def require_fuse() -> None:
    """FUSE is the kernel's to offer; the set-up cannot install it."""
    device = Path("/dev/fuse")
    if not device.exists():
        raise DemoError("there is no /dev/fuse. As root: modprobe fuse. In a container: --device /dev/fuse")
    if not os.access(device, os.R_OK | os.W_OK):
        raise DemoError("/dev/fuse cannot be opened by this user. As root: chmod 666 /dev/fuse")
    if os.geteuid() != 0 and shutil.which("fusermount3") is None:
        raise DemoError("fusermount3 is missing: sudo apt-get install fuse3")


def end_by_signal(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end_by_signal)
    begin = time.monotonic()
    try:
        require_fuse()
        with scratch_stage() as stage:
            for step in STEPS:
                step(stage)
    except (DemoError, OSError, subprocess.TimeoutExpired) as error:
        print(f"\ndemo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo interrupted; nothing was left behind", file=sys.stderr)
        return 130
    heading(f"All of it worked, in {time.monotonic() - begin:.1f} s; nothing was left behind")
    say("With disks of your own: see README.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
