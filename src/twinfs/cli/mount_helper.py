"""`mount.fuse.twinfs` and `umount.fuse.twinfs`: what mount(8), umount(8), fstab and systemd run.

Called as /sbin/mount.fuse.twinfs SRC DIR [-sfnv] [-o OPTIONS], with an environment that may hold
nothing at all. The exit code is made of mount(8)'s bits, not of twinfs' own codes.
"""

from __future__ import annotations

import getopt
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from twinfs.cli.progress import ProgressDisplay
from twinfs.cli.talk import say
from twinfs.daemon import config, mounting, mounts, unmounting
from twinfs.daemon.create import create_volume, name_from_path, recover_volume
from twinfs.daemon.find import by_primary, canonical, is_same_path
from twinfs.daemon.options import MountOptions, parse_options
from twinfs.daemon.paths import Paths, resolve
from twinfs.errors import TwinfsError, UsageError
from twinfs.model import VolumeConfig

_SANE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class MountExit(IntEnum):
    """mount(8), "EXIT STATUS"."""

    OK = 0
    USAGE = 1
    SYSTEM = 2
    INTERNAL = 4
    INTERRUPTED = 8
    FAILURE = 32


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the helper, as mount(8) makes it."""

    source: str
    mountpoint: str
    options: MountOptions
    is_fake: bool


def mount(arguments: Sequence[str]) -> MountExit:
    """mount.fuse.twinfs SRC DIR [-sfnv] [-o OPTIONS]."""
    return _guarded("mount", lambda: _mount(parse_call(arguments)))


def umount(arguments: Sequence[str]) -> MountExit:
    """umount.fuse.twinfs DIR [-flnrv]: as umount(8), but stays until the secondary has everything."""
    return _guarded("umount", lambda: _umount(arguments))


def parse_call(arguments: Sequence[str]) -> Call:
    """Read the command line. Options may stand before, between or after the two operands."""
    try:
        flags, operands = getopt.gnu_getopt(list(arguments), "sfnvhVo:t:N:")
    except getopt.GetoptError as error:
        raise UsageError(str(error)) from None
    if len(operands) != 2:
        raise UsageError("usage: mount.fuse.twinfs NAME|PRIMARY MOUNTPOINT [-sfnv] [-o OPTIONS]")
    return Call(
        source=operands[0],
        mountpoint=operands[1],
        options=parse_options(value for flag, value in flags if flag == "-o"),
        is_fake=("-f", "") in flags,
    )


def _mount(call: Call) -> None:
    paths = _paths(call.options)
    place = canonical(call.mountpoint)
    present = mounts.twinfs_at(place)
    if present is not None and present.source == call.source and not mounts.is_dead(place):
        return  # `mount -a` again
    volume = volume_for(paths, call.source, call.options)
    request = mounting.prepare(paths, volume, place, call.options, source=call.source, say=say)
    if not call.is_fake:
        mounting.start(paths, request, say=say)


def volume_for(paths: Paths, source: str, options: MountOptions) -> VolumeConfig:
    """The configured volume that fstab's first field means; made now if that is surely harmless."""
    if "/" not in source:
        return config.load(paths, source)
    volume = by_primary(paths, source)
    if volume is None:
        return _make(paths, os.path.abspath(source), options.secondary)
    if options.secondary is not None and not is_same_path(options.secondary, volume.secondary):
        raise UsageError(
            f"secondary={options.secondary}: volume {volume.name} has its secondary at {volume.secondary};"
            f" change the mount option or {paths.config_file(volume.name)}"
        )
    return volume


def _make(paths: Paths, primary: str, secondary: str | None) -> VolumeConfig:
    """A new volume out of one fstab line, never over files: what a boot does, nobody watches."""
    if secondary is None:
        raise UsageError(
            f"no volume has its primary at {primary}; give secondary=DIR, or first: twinfs init {primary} DIR"
        )
    known = recover_volume(paths, primary, secondary)
    if known is not None:
        say(
            f"volume {known.name} is known by its labels; its settings are in {paths.config_file(known.name)}"
        )
        return known
    name = name_from_path(primary)
    if name in config.list_names(paths):
        name = name_from_path("-".join(primary.strip("/").split("/")[-2:]))
    if _holds_files(secondary):
        raise UsageError(
            f"{secondary} holds files already. To bring it up to date and keep what only it has, once:"
            f" twinfs init {primary} {secondary} --name {name} --adopt"
        )
    settings = VolumeConfig(name=name, volume_id="", primary=primary, secondary=secondary)
    volume = create_volume(paths, settings, adopt=False, say=say)
    say(f"volume {name} is made; its settings are in {paths.config_file(name)}")
    return volume


def _holds_files(directory: str) -> bool:
    """lost+found is no file of anybody's: a fresh ext4 has it."""
    try:
        return any(entry != "lost+found" for entry in os.listdir(directory))
    except OSError as error:
        raise UsageError(f"secondary={directory}: {error.strerror}") from None


def _umount(arguments: Sequence[str]) -> None:
    try:
        flags, operands = getopt.gnu_getopt(list(arguments), "flnrvt:N:")
    except getopt.GetoptError as error:
        raise UsageError(str(error)) from None
    if len(operands) != 1:
        raise UsageError("usage: umount.fuse.twinfs MOUNTPOINT [-flnrv]")
    if ("-l", "") in flags or ("-f", "") in flags:
        mounts.unmount(canonical(operands[0]), lazy=True)
        return
    with ProgressDisplay() as display:
        unmounting.unmount(_paths(MountOptions()), operands[0], on_progress=display, say=say)


def _paths(options: MountOptions) -> Paths:
    config_dir = Path(options.config_dir) if options.config_dir else None
    state_dir = Path(options.state_dir) if options.state_dir else None
    return resolve(config_dir, state_dir, os.environ, is_root=os.geteuid() == 0)


def _guarded(program: str, action: Callable[[], None]) -> MountExit:
    """Run with a PATH (fusermount3 must be found) and turn failures into mount(8)'s codes."""
    os.environ.setdefault("PATH", _SANE_PATH)
    try:
        action()
    except UsageError as error:
        say(f"{program}.fuse.twinfs: {error}")
        return MountExit.USAGE
    except TwinfsError as error:
        say(f"{program}.fuse.twinfs: {error}")
        return MountExit.FAILURE
    except OSError as error:
        say(f"{program}.fuse.twinfs: {error}")
        return MountExit.SYSTEM
    except KeyboardInterrupt:
        return MountExit.INTERRUPTED
    return MountExit.OK
