"""A real X server shows a counter; the film is decoded, and its frames are compared with what was shown."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from support import counter_window
from support.counter_window import picture, read_number
from support.machine import describe, needs_root, run, tool
from support.volume import wait_until
from tools.capture.conftest import COMMAND

WIDTH, HEIGHT, X, Y = 321, 101, 40, 30
WINDOW = f"{WIDTH}x{HEIGHT}+{X}+{Y}"
EVEN = f"320x100+{X}+{Y}"
STEP_SECONDS = 0.05


@pytest.fixture(scope="module")
def xserver() -> Iterator[str]:
    """A display of 640x480 of its own."""
    read_end, write_end = os.pipe()
    words = ["-screen", "0", "640x480x24", "-nolisten", "tcp", "-displayfd", str(write_end)]
    server = subprocess.Popen(
        [tool("Xvfb", "xvfb"), *words],
        pass_fds=(write_end,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        number = pipe.readline().strip()
    assert number, "Xvfb did not start"
    yield f":{number}"
    server.terminate()
    server.wait(20)


@pytest.fixture(scope="module")
def counter(xserver: str) -> Iterator[str]:
    """The display, with the counter on it."""
    words = [sys.executable, counter_window.__file__, xserver, WINDOW, str(STEP_SECONDS)]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "shown\n"
    yield xserver
    process.kill()
    process.communicate()


def record(display: str, out: Path, *options: str | Path, check: bool = True) -> dict:
    done = run(COMMAND, "screen", out, "--display", display, "--no-cursor", "--json", *options, check=check)
    return json.loads(done.stdout)


def start_recording(display: str, out: Path, *options: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [COMMAND, "screen", out, "--display", display, "--no-cursor", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def pixels(frame: av.VideoFrame) -> bytes:
    """Rows of RGB without padding."""
    plane = frame.reformat(format="rgb24").planes[0]
    data, width = bytes(plane), frame.width * 3
    return b"".join(data[row * plane.line_size :][:width] for row in range(frame.height))


def decoded(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as film:
        return list(film.decode(video=0))


def numbers_in(frames: list[av.VideoFrame], *, exact: bool) -> list[int]:
    """What each frame shows; with `exact`, every pixel of it must be as it was drawn."""
    found = []
    for frame in frames:
        data = pixels(frame)
        number = read_number(data, frame.width, frame.height)
        if exact:
            assert (frame.width, frame.height) == (WIDTH, HEIGHT)
            assert data == picture(number, WIDTH, HEIGHT), f"frame with {number}"
        found.append(number)
    return found


def assert_in_time(numbers: list[int], frames: list[av.VideoFrame]) -> None:
    """The counter went up as much as the film says that time went by, and never back."""
    assert numbers == sorted(numbers)
    shown_seconds = (numbers[-1] - numbers[0]) * STEP_SECONDS
    assert shown_seconds == pytest.approx(frames[-1].time - frames[0].time, abs=0.3)


def test_every_pixel_of_every_frame_is_what_was_shown_when_it_was(counter, workspace):
    film = record(counter, workspace / "film.mkv", "--geometry", WINDOW, "--duration", "2", "--fps", "10")
    assert film["frames"] + film["dropped"] == 20
    assert film["is_lossless"] is True
    frames = decoded(workspace / "film.mkv")
    assert len(frames) == film["frames"] >= 2
    assert_in_time(numbers_in(frames, exact=True), frames)


@pytest.mark.parametrize("ending", ["mp4", "webm", "gif"])
def test_the_other_endings_show_it_as_well(counter, workspace, ending):
    out = workspace / f"film.{ending}"
    film = record(counter, out, "--geometry", EVEN, "--duration", "1", "--fps", "10")
    assert film["frames"] + film["dropped"] == 10
    frames = decoded(out)
    assert len(frames) == film["frames"]
    assert {(frame.width, frame.height) for frame in frames} == {(320, 100)}
    numbers = [read_number_nearby(frame) for frame in frames]
    assert numbers == sorted(numbers)


def read_number_nearby(frame: av.VideoFrame) -> int:
    """From a picture that lacks the last row and column of the window."""
    data = pixels(frame)
    rows = [data[row * 960 :][:960] + b"\0\0\0" for row in range(100)]
    return read_number(b"".join([*rows, bytes(963)]), WIDTH, HEIGHT)


@pytest.mark.parametrize("ending", ["mkv", "mp4", "webm"])
def test_lossless_is_lossless_in_every_film_and_odd_sizes_are_kept(counter, workspace, ending):
    out = workspace / f"film.{ending}"
    record(counter, out, "--geometry", WINDOW, "--duration", "0.5", "--lossless")
    assert numbers_in(decoded(out), exact=True)


@pytest.mark.parametrize("ending", ["png", "ppm", "xwd", "tga", "sgi"])
def test_frames_are_files_of_their_own_with_every_pixel(counter, workspace, ending):
    film = record(counter, workspace / f"img_%04d.{ending}", "--geometry", WINDOW, "--duration", "0.6")
    files = sorted(workspace.glob("img_*"))
    assert [path.name for path in files] == [f"img_{n:04}.{ending}" for n in range(1, film["frames"] + 1)]
    run(COMMAND, "convert", workspace / f"img_*.{ending}", workspace / "film.mkv")
    numbers = numbers_in(decoded(workspace / "film.mkv"), exact=True)
    assert len(numbers) == film["frames"] >= 1
    assert film["frames"] + film["dropped"] == 6
    assert numbers == sorted(numbers)


def test_geometry_is_exact_to_the_pixel(counter, workspace):
    """One pixel to the left there is desktop; from the right and the bottom it is the same place."""
    out = workspace / "film.mkv"
    record(counter, out, "--geometry", f"3x3+{X - 1}+{Y - 1}", "--duration", "0.2")
    desktop, border = bytes(counter_window.DESKTOP), bytes(counter_window.BORDER)
    paper = bytes(counter_window.PAPER)
    expected = desktop * 3 + desktop + border * 2 + desktop + border + paper
    assert pixels(decoded(out)[0]) == expected
    minus = f"{WIDTH}x{HEIGHT}-{640 - X - WIDTH}-{480 - Y - HEIGHT}"
    record(counter, out, "--geometry", minus, "--duration", "0.2", "--force")
    assert numbers_in(decoded(out), exact=True)


def test_without_geometry_it_is_the_whole_screen(counter, workspace):
    film = record(counter, workspace / "film.mkv", "--duration", "0.2")
    assert (film["width"], film["height"]) == (640, 480)
    frame = decoded(workspace / "film.mkv")[0]
    whole = pixels(frame)
    rows = [whole[(Y + row) * 640 * 3 + X * 3 :][: WIDTH * 3] for row in range(HEIGHT)]
    inside = b"".join(rows)
    assert inside == picture(read_number(inside, WIDTH, HEIGHT), WIDTH, HEIGHT)


def test_a_window_is_found_by_its_title(counter, workspace):
    film = record(counter, workspace / "film.mkv", "--window", "FS COUNT", "--duration", "0.3")
    assert (film["width"], film["height"]) == (WIDTH, HEIGHT)
    assert numbers_in(decoded(workspace / "film.mkv"), exact=True)
    done = run(COMMAND, "screen", workspace / "x.mkv", "--display", counter, "--window", "none", check=False)
    assert done.returncode == 2
    assert counter_window.TITLE in done.stderr


def test_a_window_is_picked_with_a_click(counter, workspace):
    from Xlib import X as Xlib
    from Xlib import display
    from Xlib.ext import xtest

    process = start_recording(counter, workspace / "film.mkv", "--window", "pick", "--duration", "0.3")
    assert process.stderr is not None
    assert "click" in process.stderr.readline()
    pointer = display.Display(counter)
    xtest.fake_input(pointer, Xlib.MotionNotify, x=X + 50, y=Y + 50)
    for kind in (Xlib.ButtonPress, Xlib.ButtonRelease):
        xtest.fake_input(pointer, kind, 1)
    pointer.sync()
    _, errors = process.communicate(timeout=30)
    pointer.close()
    assert process.returncode == 0, errors
    assert numbers_in(decoded(workspace / "film.mkv"), exact=True)


def test_the_pointer_is_in_the_picture_only_if_wanted(counter, workspace):
    from Xlib import display

    pointer = display.Display(counter)
    pointer.screen().root.warp_pointer(600, 400)
    pointer.sync()
    plain, pointed = workspace / "plain.mkv", workspace / "pointed.mkv"
    area = ("--geometry", "60x60+580+380", "--duration", "0.2")
    record(counter, plain, *area)
    run(COMMAND, "screen", pointed, "--display", counter, *area)
    pointer.close()
    assert pixels(decoded(plain)[0]) == bytes(counter_window.DESKTOP) * 3600
    assert pixels(decoded(pointed)[0]) != bytes(counter_window.DESKTOP) * 3600


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it_with_a_finished_film(counter, workspace, number):
    process = start_recording(counter, workspace / "film.mkv", "--geometry", WINDOW, "--json")
    wait_for_bytes(workspace / "film.mkv", 4000)
    process.send_signal(number)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    frames = decoded(workspace / "film.mkv")
    assert len(frames) == json.loads(output)["frames"]
    assert_in_time(numbers_in(frames, exact=True), frames)


@pytest.mark.parametrize("ending", ["mkv", "mp4", "webm", "gif"])
def test_killed_in_the_middle_what_was_captured_until_then_plays(counter, workspace, ending):
    out = workspace / f"film.{ending}"
    process = start_recording(counter, out, "--geometry", EVEN)
    begin = wait_for_bytes(out, 1)
    time.sleep(1.5)
    process.kill()
    process.communicate()
    seconds = time.monotonic() - begin
    with av.open(str(out)) as film:
        numbers = [read_number_nearby(frame) for frame in whole_frames(film)]
    assert numbers == sorted(numbers)
    # By what was shown last, not by how many frames: a busy machine drops some.
    assert (numbers[-1] - numbers[0]) * STEP_SECONDS >= seconds - 1.2, (numbers, seconds)


def whole_frames(film: av.container.InputContainer) -> Iterator[av.VideoFrame]:
    """Players stop at a damaged end, too."""
    try:
        yield from film.decode(video=0)
    except av.FFmpegError:
        return


@needs_root
def test_on_a_full_disk_what_was_captured_until_then_plays(counter, workspace, new_disk):
    small = new_disk("small")
    room = os.statvfs(small.path)
    (small.path / "ballast").write_bytes(bytes((room.f_bavail - 30) * room.f_frsize))
    out = small.path / "film.mkv"
    done = run(
        *(COMMAND, "screen", out, "--display", counter, "--no-cursor", "--fps", "240", "--duration", "60"),
        check=False,
    )
    assert done.returncode == 1, describe(done)
    assert "No space left on device" in done.stderr
    assert "stays" in done.stderr
    with av.open(str(out)) as film:
        assert len(list(whole_frames(film))) > 10


def test_frames_that_were_missed_are_counted_and_said(counter, workspace):
    out = workspace / "img_%05d.png"
    recording = start_recording(counter, out, "--fps", "20", "--duration", "5", "--json")
    wait_until(lambda: any(workspace.glob("img_*.png")), 30, "no first picture")
    recording.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    recording.send_signal(signal.SIGCONT)
    told, errors = recording.communicate()
    film = json.loads(told)
    assert film["dropped"] > 0
    assert film["frames"] + film["dropped"] == 100
    assert len(list(workspace.glob("img_*.png"))) == film["frames"]
    assert "frames were dropped" in errors


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"WAYLAND_DISPLAY": "wayland-0"}, ["Wayland", "wf-recorder", "portal"]),
        ({}, ["DISPLAY is not set", "--display"]),
        ({"DISPLAY": ":4711"}, [":4711 does not answer"]),
    ],
)
def test_without_an_x_display_it_says_what_to_do(workspace, environment, words):
    env = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    done = subprocess.run(
        [COMMAND, "screen", workspace / "film.mkv"],
        env={**env, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert all(word in done.stderr for word in words), done.stderr
    assert os.listdir(workspace) == []


@pytest.mark.parametrize(
    ("out", "options", "words"),
    [
        ("film.avi", (), ".mkv, .mp4"),
        ("img.png", (), "img_%04d.png"),
        ("no/film.mkv", (), "there is no directory"),
        ("film.gif", ("--lossless",), "256 colours"),
        ("film.mkv", ("--geometry", "700x10"), "not within the screen, 640x480"),
        ("film.mkv", ("--geometry", "10x10+635+0"), "not within the screen"),
        ("film.mkv", ("--geometry", "large"), "such as 1024x768+0+0"),
        ("film.mkv", ("--geometry", "10x10", "--window", "x"), "exclude each other"),
        ("film.mkv", ("--fps", "0"), "Must be > 0"),
    ],
)
def test_what_cannot_be_is_refused_with_words(counter, workspace, out, options, words):
    done = run(COMMAND, "screen", workspace / out, "--display", counter, *options, check=False)
    assert done.returncode == 2, describe(done)
    assert words in done.stderr
    assert os.listdir(workspace) == []


@pytest.mark.parametrize("out", ["film.mkv", "img_%04d.png"])
def test_what_exists_is_overwritten_only_when_forced(counter, workspace, out):
    for name in ("film.mkv", "img_0001.png", "img_9999.png"):
        (workspace / name).write_text("precious")
    words = (COMMAND, "screen", workspace / out, "--display", counter, "--duration", "0.2")
    done = run(*words, check=False)
    assert done.returncode == 2
    assert "exists already" in done.stderr
    assert {path.read_text() for path in workspace.iterdir()} == {"precious"}
    run(*words, "--force")
    left = [path.name for path in workspace.iterdir() if path.read_bytes() == b"precious"]
    assert sorted(left) == (["img_0001.png", "img_9999.png"] if out == "film.mkv" else ["film.mkv"])


def wait_for_bytes(path: Path, least: int) -> float:
    """When there were so many; what is captured begins about then."""
    deadline = time.monotonic() + 30
    while not path.exists() or path.stat().st_size < least:
        assert time.monotonic() < deadline, "nothing was recorded"
        time.sleep(0.01)
    return time.monotonic()
