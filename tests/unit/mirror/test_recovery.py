"""What a volume does with what the last session left: after kills, power cuts and a damaged state."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from twinfs.errors import SplitBrainError, TwinfsError
from twinfs.fsio.syscalls import RENAME_EXCHANGE
from twinfs.mirror.attributes import Wanted
from twinfs.mirror.recovery import records_of
from twinfs.mirror.volume import Volume
from twinfs.model import Action, Mode, Order
from unit.mirror.kit import SHM, Ground, User, abandon, new_ground, running

LOG = Path("state/pair/intent.log")


async def fill(ground: Ground) -> None:
    async with running(ground) as user:
        for name in ("a", "b", "c"):
            await user.put(name, name.encode() * 1000)
    ground.assert_equal()


def edit_label(leg: Path, **changes: object) -> None:
    path = leg / ".twinfs" / "label.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def spoil(path: Path) -> None:
    """Other content, with the same size and time: what a disk that lost power may have."""
    status = path.stat()
    path.write_bytes(b"#" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


async def drain(ground: Ground) -> None:
    volume = ground.open()
    await volume.close()


async def test_a_power_cut_is_answered_by_comparing_what_changed_since_byte_by_byte(ground: Ground) -> None:
    await fill(ground)
    volume = ground.open()
    await User(volume).write("a", 0, b"changed")
    await volume.sync()
    await User(volume).write("b", 0, b"changed")
    abandon(volume)
    spoil(ground.secondary / "a")
    for leg in (ground.primary, ground.secondary):
        edit_label(leg, boot_id="an earlier boot")
    await drain(ground)
    ground.assert_equal()
    assert (ground.secondary / "a").read_bytes().startswith(b"changed")


async def test_a_kill_alone_is_no_power_cut_and_compares_nothing(ground: Ground) -> None:
    await fill(ground)
    volume = ground.open()
    await User(volume).write("a", 0, b"changed")
    abandon(volume)
    spoil(ground.secondary / "c")
    await drain(ground)
    assert (ground.secondary / "a").read_bytes().startswith(b"changed")
    assert (ground.secondary / "c").read_bytes().startswith(b"#")


@pytest.mark.parametrize("damage", ["missing", "empty", "middle", "foreign"])
async def test_without_a_log_to_trust_everything_is_compared(ground: Ground, damage: str) -> None:
    await fill(ground)
    volume = ground.open()
    await User(volume).write("a", 0, b"changed")
    await User(volume).rename("b", "d")
    await User(volume).unlink("c")
    abandon(volume)
    path = ground.base / LOG
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "middle":
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)
    else:
        at = data.index(ground.config.volume_id.encode())
        path.write_bytes(data[:at] + b"another volume" + data[at + 14 :])
    events: list[str] = []
    reopened = ground.open()
    reopened.on_event = lambda kind, message: events.append(kind)
    async with trio.open_nursery() as nursery:
        await nursery.start(reopened.run)
        await reopened.sync()
        nursery.cancel_scope.cancel()
    await reopened.close()
    assert "compare_everything" in events
    ground.assert_equal()


async def test_other_excludes_than_last_time_compare_everything(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.SYNC, exclude=("*.tmp",))
    async with running(ground) as user:
        await user.put("a.tmp", b"scratch")
    assert not (ground.secondary / "a.tmp").exists()
    everything = Ground(ground.base, replace(ground.config, exclude=()))
    await drain(everything)
    everything.assert_equal()


async def test_a_split_brain_and_a_missing_leg_are_refused_and_nothing_changes(ground: Ground) -> None:
    await fill(ground)
    before = (ground.base / LOG).read_bytes()
    descriptors = len(os.listdir("/proc/self/fd"))
    edit_label(ground.secondary, events=9)
    with pytest.raises(SplitBrainError):
        ground.open()
    (ground.secondary / ".twinfs" / "label.json").unlink()
    with pytest.raises(TwinfsError, match="secondary leg"):
        ground.open()
    assert (ground.base / LOG).read_bytes() == before
    assert len(os.listdir("/proc/self/fd")) == descriptors


async def test_temporaries_of_a_killed_copy_are_cleaned_away(ground: Ground) -> None:
    (ground.secondary / ".twinfs" / "tmp" / "1f").write_text("half a copy")
    await drain(ground)
    assert os.listdir(ground.secondary / ".twinfs" / "tmp") == []


async def test_an_adopted_secondary_keeps_what_only_it_has_in_quarantine(tmp_path: Path) -> None:
    (tmp_path / "primary").mkdir()
    (tmp_path / "secondary").mkdir()
    (tmp_path / "primary" / "f").write_text("new")
    (tmp_path / "secondary" / "f").write_text("old!")
    (tmp_path / "secondary" / "mine").write_text("only here")
    ground = new_ground(tmp_path, Mode.BATCHED, adopt=True)
    await drain(ground)
    ground.assert_equal()
    [kept] = (ground.secondary / ".twinfs" / "quarantine").rglob("mine")
    assert kept.read_text() == "only here"


# Any operations, killed between any two of them, started again, any number of times.

PATHS = st.sampled_from(["a", "b", "d", "d/a", "d/b", "e", "e/a"])
KINDS = "put put mkdir link unlink rmdir rename rename exchange write truncate change symlink kill sync"
STEPS = st.lists(st.tuples(st.sampled_from(KINDS.split()), PATHS, PATHS), min_size=5, max_size=30)


async def do(user: User, kind: str, path: str, other: str, index: int) -> None:
    match kind:
        case "put":
            await user.put(path, bytes([65 + index]) * (index * 700))
        case "mkdir":
            await user.mkdir(path)
        case "link":
            await user.link(path, other)
        case "unlink":
            await user.unlink(path)
        case "rmdir":
            await user.rmdir(path)
        case "rename":
            await user.rename(path, other)
        case "exchange":
            await user.rename(path, other, RENAME_EXCHANGE)
        case "write":
            await user.write(path, index * 100, b"w" * 3000)
        case "truncate":
            await user.truncate(path, index * 50)
        case "change":
            await user.change(path, Wanted(mode=0o600 + index, mtime_ns=10**18 + index))
        case "symlink":
            await user.symlink(path, os.fsencode(other))


STEPS_WITH_ROLES = st.lists(
    st.tuples(
        st.sampled_from([*KINDS.split(), "kill", "promote", "detach", "attach", "again"]), PATHS, PATHS
    ),
    min_size=5,
    max_size=30,
)


async def order(volume: Volume, action: Action, leg: str = "") -> None:
    """What cannot be now is not done."""
    with contextlib.suppress(TwinfsError):
        await volume.recover(Order(action, leg), False, lambda progress: None, lambda role, path: None)


async def run_steps_with_roles(ground: Ground, steps: list[tuple[str, str, str]]) -> None:
    """Everything that differs between the legs is in the log, whoever was the primary: so nothing is ever
    put aside."""
    volume = ground.open()
    for index, (kind, path, other) in enumerate(steps):
        match kind:
            case "kill" | "again":
                if kind == "again":
                    with contextlib.suppress(TwinfsError):
                        await volume.close()
                else:
                    abandon(volume)
                volume = ground.open()
            case "promote":
                await order(volume, Action.PROMOTE)
            case "detach":
                await order(volume, Action.DETACH, "primary" if index % 2 else "secondary")
            case "attach":
                await order(volume, Action.ATTACH)
            case "sync":
                with contextlib.suppress(TwinfsError):
                    await volume.sync()
                    ground.assert_equal()
            case _:
                with contextlib.suppress(OSError):
                    user = User(volume)
                    await do(user, kind, path, other, index)
    await order(volume, Action.ATTACH)
    await volume.close()
    ground.assert_equal()
    for leg in (ground.primary, ground.secondary):
        assert os.listdir(leg / ".twinfs/quarantine") == [], "was deleted, or changed, and is put aside"


async def run_steps(ground: Ground, steps: list[tuple[str, str, str]]) -> None:
    volume = ground.open()
    for index, (kind, path, other) in enumerate(steps):
        if kind == "kill":
            abandon(volume)
            volume = ground.open()
        elif kind == "sync":
            await volume.sync()
            ground.assert_equal()
        else:
            try:
                await do(User(volume), kind, path, other, index)
            except OSError:
                continue  # the primary refused: nothing has happened
    abandon(volume)
    volume = ground.open()
    await volume.close()
    ground.assert_equal()


@pytest.mark.parametrize("mode", list(Mode))
@settings(max_examples=50, deadline=None)
@given(steps=STEPS)
def test_any_operations_killed_anywhere_end_with_equal_legs(
    mode: Mode, steps: list[tuple[str, str, str]]
) -> None:
    where = SHM if os.access(SHM, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where, prefix="twinfs-unit-") as directory:
        ground = new_ground(Path(directory), mode)
        trio.run(run_steps, ground, steps)


@pytest.mark.parametrize("mode", list(Mode))
@settings(max_examples=60, deadline=None)
@given(steps=STEPS_WITH_ROLES)
def test_any_operations_under_legs_that_change_their_roles_put_nothing_aside(
    mode: Mode, steps: list[tuple[str, str, str]]
) -> None:
    where = SHM if os.access(SHM, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where, prefix="twinfs-unit-") as directory:
        trio.run(run_steps_with_roles, new_ground(Path(directory), mode), steps)


@pytest.mark.parametrize("is_counted", (True, False), ids=("counted", "too many to count"))
async def test_the_age_of_the_oldest_change_survives_every_remount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_counted: bool
) -> None:
    ground = new_ground(tmp_path, Mode.BATCHED)
    async with running(ground) as user:
        await user.put("f", bytes(5000))
    began = time.time()
    volume = ground.open()
    monkeypatch.setattr(time, "time", lambda: began + 100)
    await User(volume).write("f", 0, b"oldest")
    await User(volume).put("g", bytes(3000))
    if not is_counted:
        volume.core.forget_single_changes()
        volume.core.log.start(records_of(volume.core), volume.core.log.last_number, volume.core.durable_ns)
    abandon(volume)
    for later in (400, 700):
        monkeypatch.setattr(time, "time", lambda later=later: began + later)
        pending = Volume.offline_status(ground.config, ground.state).pending
        assert pending.changes > 0
        assert pending.lag_seconds == pytest.approx(later - 100, abs=2)
        assert pending.bytes == (8000 if is_counted else 0)
        volume = ground.open()
        assert volume.pending().lag_seconds == pytest.approx(later - 100, abs=2)
        assert volume.pending().bytes == pending.bytes
        abandon(volume)
    volume = ground.open()
    await volume.sync()
    assert volume.pending().lag_seconds == 0.0
    await volume.close()
    pending = Volume.offline_status(ground.config, ground.state).pending
    assert (pending.changes, pending.bytes, pending.lag_seconds) == (0, 0, 0.0)
