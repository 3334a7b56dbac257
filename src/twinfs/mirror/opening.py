"""From two directories and what the last session left to a volume's parts.

Whatever refuses does so before anything is written.
"""

from __future__ import annotations

import contextlib
import resource
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from twinfs.errors import StateError
from twinfs.journal.log import IntentLog, LogFile
from twinfs.journal.records import Compare
from twinfs.journal.replay import recover
from twinfs.mirror import recovery, unreached
from twinfs.mirror.brake import Brake
from twinfs.mirror.core import Core
from twinfs.mirror.exclude import Excludes
from twinfs.mirror.label import LabelChange
from twinfs.mirror.legs import Legs, open_legs, path_of, refuse_incomplete
from twinfs.mirror.pair import Pair
from twinfs.mirror.parting import goes_on_alone, may_have_split
from twinfs.mirror.secondary import Secondary, clean_temporaries
from twinfs.mirror.state import CLOCK_SLACK_NS
from twinfs.model import Role, VolumeConfig
from twinfs.words import count


@dataclass(slots=True)
class Parts:
    """An opened volume. `notes` are (kind, message) of events to tell once somebody listens."""

    pair: Pair
    core: Core
    directory: Path
    notes: list[tuple[str, str]]


def open_parts(config: VolumeConfig, state_dir: Path, *, is_degraded: bool, is_forced: bool = False) -> Parts:
    """Raises what `open_legs` does; LegError when the leg that is left never had everything, unless
    `is_forced`; StateError when the state directory cannot be used."""
    _allow_many_descriptors()
    directory = state_dir / config.name
    excludes = excludes_text(config)
    session = uuid.uuid4().hex
    with contextlib.ExitStack() as undo:
        legs = open_legs(config, is_degraded_allowed=is_degraded or config.degraded_start)
        undo.callback(legs.close)
        secondary = Secondary(config, legs.missing_place, legs.secondary)
        fd = -1 if legs.secondary is None else legs.secondary.fd
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            left = LogFile(directory, config.volume_id)
            log = IntentLog(directory, config.volume_id, excludes, session)
            log.follows = legs.primary.label.session
            core = Core(legs.primary.fd, fd, log, Excludes(config.exclude), config.mode)
            core.brake = Brake(config.name, config.max_delete_percent, config.max_delete_files)
            warning = _warn_of_split(config, legs, left)
            if legs.is_taking_over:
                notes = _take_over(config, directory, legs, core, left, is_forced=is_forced)
            else:
                notes = _go_on(core, legs, left, excludes)
            there = [leg for leg in (legs.primary, legs.secondary) if leg is not None]
            core.keeps_excluded = any(leg.label.has_changed_roles for leg in there)
            _claim(legs, session)
        except OSError as error:
            raise StateError(f"volume {config.name} cannot start: {error}") from error
        undo.pop_all()
    if legs.secondary is None:
        notes.append(_say_missing(secondary, legs))
    if warning is not None:
        notes.append(("split_possible", warning))
    return Parts(Pair(config, legs.primary, secondary), core, directory, notes)


def _warn_of_split(config: VolumeConfig, legs: Legs, left: LogFile) -> str | None:
    """Before the label of the leg that is there says that it is alone."""
    if legs.secondary is not None:
        return None
    next(iter(left), None)  # its header comes first
    other_path = path_of(config, legs.missing_place)
    return may_have_split(legs.primary.path, legs.primary.label, other_path, left.header)


def _go_on(core: Core, legs: Legs, left: LogFile, excludes: str) -> list[tuple[str, str]]:
    lost_power = legs.primary.was_in_use_at_other_boot
    second = legs.secondary
    if second is not None and not legs.primary.label.is_alone:
        # When the legs have parted, what the secondary may not have kept went into the log then.
        lost_power = lost_power or second.was_in_use_at_other_boot
    label = legs.primary.label
    notes = recovery.restore(
        core,
        left,
        lost_power=lost_power,
        excludes=excludes,
        used_since_ns=int(label.changed * 1e9),
        session=label.session,
        is_second_new=second is not None and second.label.is_of_new_disk,
    )
    if second is not None and second.role is Role.PRIMARY:
        core.compare_later(b"", core.distrusted_since_ns, is_keeping=True)
    if second is not None and not label.is_alone and second.label.session != label.session:
        # Each use writes its session on both: this one is a copy of the disk, or was full then.
        core.compare_later(b"", core.distrusted_since_ns, is_keeping=True)
        notes.append("the secondary is not as the last use left it: comparing everything")
    return [("compare_everything", note) for note in notes]


def _take_over(
    config: VolumeConfig, directory: Path, legs: Legs, core: Core, left: LogFile, *, is_forced: bool
) -> list[tuple[str, str]]:
    """The secondary goes on alone. First what it never got is listed, then its label says so, then the
    log begins anew: a kill in between does it again, or makes the next start compare everything."""
    recovered = recover(left)
    is_complete = left.is_whole and not any(not record.path for record in recovered.compares.values())
    if not is_complete and not is_forced:
        raise refuse_incomplete(config)
    lost = unreached.paths_left(recovered)
    if lost:
        unreached.save(directory, lost)
    leg = legs.primary
    # With a session that the old log does not have: what that says is to be done on the other leg.
    change = LabelChange(role=Role.PRIMARY, session=core.log.session, has_changed_roles=True)
    if not leg.label.is_alone:
        change |= goes_on_alone(leg.label, together_until=leg.label.changed)
    leg.write_label(is_in_use=True, change=change)
    since_ns = max(1, (left.header.since_ns if left.header else time.time_ns()) - CLOCK_SLACK_NS)
    number = recovered.last_number + 1
    core.compares[number] = Compare(b"", since_ns, since_ns, is_keeping=True)
    core.compares_since[number] = time.time()
    core.log.start(recovery.records_of(core), number, since_ns)
    message = f"the primary is missing: {leg.path} goes on alone as the primary"
    if lost:
        message += f"; {count(len(lost), 'path')} had not reached it"
    return [("promoted", message)]


def _claim(legs: Legs, session: str) -> None:
    legs.primary.write_label(is_in_use=True, change=LabelChange(role=Role.PRIMARY, session=session))
    if legs.secondary is not None:
        # A full disk must not keep its volume from being mounted to make room, nor one that fails.
        with contextlib.suppress(OSError):
            clean_temporaries(legs.secondary.fd)
            change = LabelChange(role=Role.SECONDARY, is_alone=False, session=session)
            legs.secondary.write_label(is_in_use=True, change=change)


def _say_missing(secondary: Secondary, legs: Legs) -> tuple[str, str]:
    if legs.primary.label.is_detached:
        secondary.is_detached = True
        return "secondary_detached", f"the secondary, {secondary.path}, is detached; changes wait in the log"
    return "secondary_missing", f"the secondary is missing: {secondary.path}; changes wait in the intent log"


def excludes_text(config: VolumeConfig) -> str:
    return "\n".join(config.exclude) + ("\n#delete" if config.delete_excluded else "")


def _allow_many_descriptors() -> None:
    """Directories in use are kept open; the default of 1,024 descriptors is for programs without them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
