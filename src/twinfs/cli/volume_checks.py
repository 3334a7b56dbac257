"""What a configured volume needs, one function a question; doctor prints the answers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from twinfs.cli.checks import Check, Verdict
from twinfs.daemon import config, fstab, mounts
from twinfs.daemon.channels import find_sendmail
from twinfs.daemon.find import by_primary, default_mountpoint, is_same_path
from twinfs.daemon.old_jobs import jobs_into
from twinfs.daemon.options import MountOptions, parse_options
from twinfs.daemon.paths import Paths, resolve
from twinfs.errors import TwinfsError
from twinfs.mirror import offline
from twinfs.mirror.places import one_disk
from twinfs.model import LegState, LegStatus, Role, VolumeConfig, VolumeState, VolumeStatus

_USABLE: Final = (LegState.IN_SYNC, LegState.STALE)
_NEARLY_FULL: Final = 0.05


def standing(status: VolumeStatus) -> Iterator[Check]:
    """Each leg, and what is wrong between them although both are there: a split brain, for one."""
    for leg in status.legs:
        yield _leg(status.volume, leg, status.action)
    is_bad = status.state in (VolumeState.FAILED, VolumeState.DEGRADED)
    if is_bad and all(leg.state in _USABLE for leg in status.legs):
        said, _, rest = (status.action or "").partition("\n")
        what = said if rest else f"the volume is {status.state}"
        steps = [line.strip() for line in rest.splitlines()] or [said]
        yield Check(f"volume {status.volume}", Verdict.MISSING, what, "; ".join(steps))


def _leg(name: str, leg: LegStatus, action: str | None) -> Check:
    label = f"volume {name}, {leg.role}"
    if leg.state in _USABLE:
        return Check(label, Verdict.OK, f"{leg.path} is mounted and labelled")
    if leg.state is not LegState.MISSING:
        return Check(label, Verdict.MISSING, f"{leg.path} is {leg.state}", action)
    said, _, steps = (action or "").partition("\n")
    if steps:
        return Check(label, Verdict.MISSING, said, steps.strip())
    return Check(label, Verdict.MISSING, f"{leg.path} is missing", f"mount its disk: mount {leg.path}")


def room(status: VolumeStatus) -> Iterator[Check]:
    """A secondary that is nearly full: then what is written stays on the primary alone."""
    name = status.volume
    for leg in status.legs:
        if leg.role is Role.SECONDARY and 0 < leg.total_bytes * _NEARLY_FULL > leg.free_bytes:
            percent = leg.free_bytes * 100 / leg.total_bytes
            fix = f"make room on {leg.path}, or give it a larger disk: twinfs replace {name} secondary NEWDIR"
            if status.quarantine.objects:
                fix = f"twinfs quarantine {name} --purge --older-than 30d; {fix}"
            yield Check(
                f"volume {name}, room",
                Verdict.ADVICE,
                f"{leg.path} has {percent:.1f} % of its room left",
                fix,
            )


def log(paths: Paths, volume: VolumeConfig, status: VolumeStatus) -> Iterator[Check]:
    """Of a volume that is not mounted: a daemon is writing to its log."""
    if status.pid is None and (trouble := offline.log_trouble(volume, paths.state_dir)):
        message = f"{trouble}: everything is compared at the next start, and nothing is lost"
        yield Check(f"volume {volume.name}, log", Verdict.ADVICE, message, f"twinfs sync {volume.name}")


def dead_mount(volume: VolumeConfig, status: VolumeStatus) -> Iterator[Check]:
    """What a killed daemon left behind answers every program with an error.

    Only where the settings have it mounted: another one of that name, perhaps somebody else's, could hang,
    and whoever waits for a mount that hangs cannot be ended.
    """
    place = default_mountpoint(volume)
    if status.pid is None and mounts.twinfs_at(place) is not None and mounts.is_dead(place):
        message = f"{place} is dead: its daemon ended without unmounting"
        yield Check(f"volume {volume.name}, mount", Verdict.MISSING, message, f"twinfs mount {volume.name}")


def fstab_lines(paths: Paths, table: Path = Path("/etc/fstab")) -> Iterator[Check]:
    """Every line of ours, before a boot finds out."""
    for line in fstab.lines(table):
        label = f"{table}, {line.mountpoint}"
        try:
            options = parse_options([line.options])
            message = _line(_own_paths(paths, options), line, options)
        except TwinfsError as error:
            yield Check(label, Verdict.MISSING, str(error), f"edit {table}")
            continue
        if message:
            yield Check(label, Verdict.MISSING, message, f"edit {table}, or mkdir -p {line.mountpoint}")
        else:
            yield Check(label, Verdict.OK, f"mounts {line.source}")


def _own_paths(paths: Paths, options: MountOptions) -> Paths:
    """Where the mount helper will look."""
    if options.config_dir is None and options.state_dir is None:
        return paths
    config_dir = Path(options.config_dir) if options.config_dir else None
    state_dir = Path(options.state_dir) if options.state_dir else None
    return resolve(config_dir, state_dir, os.environ, is_root=os.geteuid() == 0)


def _line(paths: Paths, line: fstab.Line, options: MountOptions) -> str:
    """What is wrong with it; empty where nothing is. TwinfsError: its volume is not configured."""
    if not os.path.isdir(line.mountpoint) and mounts.twinfs_at(line.mountpoint) is None:
        return f"{line.mountpoint} is no directory"
    if "/" not in line.source:
        config.load(paths, line.source)
        return ""
    volume = by_primary(paths, line.source)
    if volume is None:
        is_made_then = options.secondary is not None and os.path.isdir(options.secondary)
        return (
            "" if is_made_then else f"no volume has its primary at {line.source}, and no secondary= is there"
        )
    if options.secondary is not None and not is_same_path(options.secondary, volume.secondary):
        return f"secondary={options.secondary}: volume {volume.name} has its secondary at {volume.secondary}"
    if "x-systemd.automount" in line.options and is_same_path(line.mountpoint, volume.primary):
        return "x-systemd.automount would cover the primary that it is mounted over; leave it out"
    return ""


def two_disks(volume: VolumeConfig) -> Iterator[Check]:
    """Whether the legs are on two disks, as far as that can be told."""
    try:
        shared = one_disk(volume.primary, volume.secondary)
    except TwinfsError:
        return  # one is not there, which is a finding of its own
    if shared:
        message = f"both legs are on {shared}: when that fails, both copies are gone"
        fix = f"twinfs replace {volume.name} secondary NEWDIR, with NEWDIR on another disk"
        yield Check(f"volume {volume.name}, disks", Verdict.ADVICE, message, fix)


def old_jobs(volume: VolumeConfig) -> Iterator[Check]:
    """A nightly rsync into the mirror that nobody has switched off."""
    for job in jobs_into(volume.secondary):
        message = f"{job.file} still has rsync write to {volume.secondary}, whose label --delete takes away"
        yield Check(
            f"volume {volume.name}, old job",
            Verdict.MISSING,
            message,
            f"take this line out of it: {job.line}",
        )


def channels(volume: VolumeConfig) -> Iterator[Check]:
    """Whether those that the settings name could be told of events; only looked at, nothing is sent."""
    label = f"volume {volume.name}"
    if volume.on_event:
        program = volume.on_event[0]
        found = shutil.which(program)
        if found is None:
            yield Check(
                f"{label}, on_event",
                Verdict.MISSING,
                f"{program} is no program that can be run",
                "give its absolute path, and make it executable: chmod +x",
            )
        else:
            yield Check(f"{label}, on_event", Verdict.OK, found)
    if volume.mail_to:
        sendmail = find_sendmail()
        if sendmail is None:
            yield Check(f"{label}, mail_to", Verdict.MISSING, "there is no sendmail", "apt install msmtp-mta")
        else:
            yield Check(f"{label}, mail_to", Verdict.OK, sendmail)
    if volume.metrics_file is not None:
        directory = Path(volume.metrics_file).parent
        if directory.is_dir() and os.access(directory, os.W_OK | os.X_OK):
            yield Check(f"{label}, metrics_file", Verdict.OK, f"{directory} can be written")
        else:
            fix = f"sudo install -d -o {os.geteuid()} {directory}"
            yield Check(
                f"{label}, metrics_file", Verdict.MISSING, f"{directory} cannot be written by you", fix
            )
