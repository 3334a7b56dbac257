"""Pictures into films and back, films mounted as pictures, previews."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from support.counter_window import picture
from support.machine import describe, is_mounted, run
from tools.capture.conftest import COMMAND, noise
from tools.capture.test_screen import decoded, pixels

WIDTH, HEIGHT = 161, 83
COUNT = 12


def write_ppm(path: Path, number: int, width: int = WIDTH, height: int = HEIGHT) -> None:
    path.write_bytes(b"P6\n%d %d\n255\n" % (width, height) + picture(number, width, height))


@pytest.fixture
def ppms(workspace: Path) -> Path:
    """img_1.ppm to img_12.ppm: their names sort otherwise than their numbers."""
    for number in range(1, COUNT + 1):
        write_ppm(workspace / f"img_{number}.ppm", number)
    return workspace


@pytest.fixture
def film(ppms: Path) -> Path:
    convert(ppms / "img_*.ppm", ppms / "film.mkv")
    return ppms / "film.mkv"


def convert(
    frames: str | Path, out: Path, *options: str, check: bool = True
) -> subprocess.CompletedProcess[str]:
    return run(COMMAND, "convert", frames, out, *options, check=check)


def shown(path: Path) -> list[bytes]:
    return [pixels(frame) for frame in decoded(path)]


EXPECTED = [picture(number, WIDTH, HEIGHT) for number in range(1, COUNT + 1)]


@pytest.mark.parametrize("pattern", ["img_*.ppm", "img_%d.ppm"])
def test_pictures_become_a_film_in_the_order_of_their_numbers(ppms, pattern):
    done = convert(ppms / pattern, ppms / "out.mkv", "--fps", "25", "--json")
    assert json.loads(done.stdout)["frames"] == COUNT
    assert shown(ppms / "out.mkv") == EXPECTED
    times = [frame.time for frame in decoded(ppms / "out.mkv")]
    assert times == pytest.approx([number / 25 for number in range(COUNT)], abs=0.001)


@pytest.mark.parametrize("ending", ["xwd", "png", "tga", "sgi"])
def test_pictures_become_pictures_of_another_kind_and_back(ppms, ending):
    convert(ppms / "img_*.ppm", ppms / f"there_%03d.{ending}")
    assert len(list(ppms.glob(f"there_*.{ending}"))) == COUNT
    convert(ppms / f"there_*.{ending}", ppms / "back_%02d.ppm")
    for number in range(1, COUNT + 1):
        assert (ppms / f"back_{number:02}.ppm").read_bytes().endswith(picture(number, WIDTH, HEIGHT))


def test_jpegs_are_read_and_written(ppms):
    convert(ppms / "img_*.ppm", ppms / "photo_%02d.jpg")
    convert(ppms / "photo_*.jpg", ppms / "out.mkv")
    near = shown(ppms / "out.mkv")
    assert len(near) == COUNT
    error = sum(abs(a - b) for a, b in zip(near[0], EXPECTED[0], strict=True)) / len(near[0])
    assert 0 < error < 8


def test_a_film_becomes_pictures_again(film):
    convert(film, film.parent / "out_%04d.ppm")
    assert (film.parent / "out_0012.ppm").read_bytes().endswith(EXPECTED[-1])
    assert not (film.parent / "out_0013.ppm").exists()


def test_names_that_ffmpeg_would_take_for_protocols_are_only_names(ppms):
    for number in (1, 2):
        (ppms / f"img_{number}.ppm").rename(ppms / f"concat:{number}.ppm")
    run(COMMAND, "convert", "concat:*.ppm", "pipe:1.mkv", cwd=ppms)
    assert shown(ppms / "pipe:1.mkv") == EXPECTED[:2]


@pytest.mark.parametrize(
    ("frames", "out", "code", "words"),
    [
        ("none_*.png", "out.mkv", 2, "no file matches"),
        ("img_*.ppm", "img_%d.ppm", 2, "overwrite what it is made of"),
        ("img_*.ppm", "out.doc", 2, "its ending must say"),
        ("mixed_*.ppm", "out.mkv", 1, "mixed_2.ppm is 80x40, the first one 161x83"),
        ("broken.png", "out.mkv", 1, "broken.png is no picture of its kind"),
        ("broken.mkv", "out.gif", 1, "broken.mkv cannot be read as a film"),
    ],
)
def test_what_cannot_be_converted_is_said(ppms, frames, out, code, words):
    write_ppm(ppms / "mixed_1.ppm", 1)
    write_ppm(ppms / "mixed_2.ppm", 2, 80, 40)
    for name in ("broken.png", "broken.mkv"):
        (ppms / name).write_bytes(noise(5000))
    done = convert(ppms / frames, ppms / out, check=False)
    assert done.returncode == code, describe(done)
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert (ppms / "img_1.ppm").read_bytes().endswith(EXPECTED[0])


@pytest.fixture
def mounted(film: Path) -> Iterator[Path]:
    """The film's frames."""
    mountpoint = film.parent / "frames"
    mountpoint.mkdir()
    run(COMMAND, "frames", film, mountpoint, "--format", "png,xwd,ppm")
    yield mountpoint
    if is_mounted(mountpoint):
        run("fusermount3", "-u", mountpoint)


def test_a_film_is_mounted_as_its_frames(mounted):
    expected = [f"img_{n:04}.{kind}" for n in range(1, COUNT + 1) for kind in ("png", "xwd", "ppm")]
    assert sorted(os.listdir(mounted)) == sorted(expected)
    for number in (12, 1, 7, 6, 12):
        data = (mounted / f"img_{number:04}.ppm").read_bytes()
        assert data.endswith(picture(number, WIDTH, HEIGHT)), number
        assert len(data) == (mounted / f"img_{number:04}.ppm").stat().st_size


@pytest.mark.parametrize("kind", ["png", "xwd"])
def test_mounted_frames_are_files_that_tools_take(mounted, kind):
    convert(mounted / f"img_*.{kind}", mounted.parent / "again.mkv")
    assert shown(mounted.parent / "again.mkv") == EXPECTED
    copy = mounted.parent / f"copy.{kind}"
    run("cp", mounted / f"img_0003.{kind}", copy)
    assert copy.stat().st_size == (mounted / f"img_0003.{kind}").stat().st_size
    assert copy.read_bytes() == (mounted / f"img_0003.{kind}").read_bytes()


def test_mounted_frames_cannot_be_changed_and_others_are_not_there(mounted):
    with pytest.raises(OSError, match="Read-only"):
        (mounted / "img_0001.png").write_bytes(b"")
    with pytest.raises(OSError, match="Read-only"):
        (mounted / "new").touch()
    for name in ("img_0013.png", "img_0000.png", "img_1.png", "img_00001.png", "img_0001.jpg", "other"):
        assert not (mounted / name).exists(), name


def test_unmounted_its_process_ends(film):
    mountpoint = film.parent / "frames"
    mountpoint.mkdir()
    words = [COMMAND, "frames", film, mountpoint, "--foreground"]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not is_mounted(mountpoint):
        assert process.poll() is None
    run("fusermount3", "-u", mountpoint)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, b"")


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [("broken.mkv", 1, "cannot be read as a film"), ("none.mkv", 1, "No such file")],
)
def test_what_cannot_be_mounted_is_said_in_the_foreground(workspace, name, code, words):
    (workspace / "broken.mkv").write_bytes(noise(5000))
    (workspace / "mnt").mkdir()
    done = run(COMMAND, "frames", workspace / name, workspace / "mnt", check=False)
    assert done.returncode == code
    assert words in done.stderr
    assert not is_mounted(workspace / "mnt")


@pytest.mark.parametrize("player", ["mpv", "ffplay"])
def test_a_preview_gives_the_player_every_frame_at_its_time(ppms, player):
    """A stand-in keeps what it is given; no player is needed to test this."""
    programs = ppms / "bin"
    programs.mkdir()
    script = programs / player
    script.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{_KEEP}' {ppms / 'kept'}\n")
    script.chmod(0o755)
    run(COMMAND, "play", ppms / "img_*.ppm", "--fps", "20", env={"PATH": str(programs)})
    with av.open(str(ppms / "kept")) as kept:
        frames = list(kept.decode(video=0))
    assert [pixels(frame) for frame in frames] == EXPECTED
    assert [frame.time for frame in frames] == pytest.approx([n / 20 for n in range(COUNT)])


_KEEP = 'import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, open(sys.argv[1], "wb"))'


def test_a_preview_without_a_player_names_one(ppms):
    done = run(COMMAND, "play", ppms / "img_*.ppm", env={"PATH": str(ppms)}, check=False)
    assert done.returncode == 1
    assert "apt-get install mpv" in done.stderr


def test_a_preview_that_is_closed_early_is_no_failure(ppms):
    programs = ppms / "bin"
    programs.mkdir()
    (programs / "mpv").write_text("#!/bin/sh\nexit 0\n")
    (programs / "mpv").chmod(0o755)
    done = run(COMMAND, "play", ppms / "img_*.ppm", env={"PATH": str(programs)}, check=False)
    assert (done.returncode, done.stderr) == (0, "")
