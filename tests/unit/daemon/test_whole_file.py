"""Small files, whole or not at all."""

from __future__ import annotations

import os
import threading

import pytest

from twinfs.daemon.whole_file import write_whole


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_it_is_written_with_its_mode_whatever_the_umask(tmp_path, mode):
    before = os.umask(0o077)
    try:
        write_whole(tmp_path / "x.prom", b"one", mode)
        write_whole(tmp_path / "x.prom", b"two", mode)
    finally:
        os.umask(before)
    assert (tmp_path / "x.prom").read_bytes() == b"two"
    assert (tmp_path / "x.prom").stat().st_mode & 0o777 == mode
    assert os.listdir(tmp_path) == ["x.prom"]


def test_a_reader_never_sees_half_of_it(tmp_path):
    texts = [letter * 100_000 for letter in (b"a", b"b")]
    write_whole(tmp_path / "x", texts[0], 0o644)
    seen = set()
    is_over = threading.Event()

    def read():
        while not is_over.is_set():
            seen.add((tmp_path / "x").read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(200):
        write_whole(tmp_path / "x", texts[number % 2], 0o644)
    is_over.set()
    reader.join()
    assert seen <= set(texts)


def test_a_link_left_in_the_way_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("keep")
    (tmp_path / ".x.new").symlink_to("precious")
    (tmp_path / "x").symlink_to("precious")
    write_whole(tmp_path / "x", b"new", 0o644)
    assert (tmp_path / "precious").read_text() == "keep"
    assert not (tmp_path / "x").is_symlink()
    assert (tmp_path / "x").read_text() == "new"


def test_a_failure_leaves_the_old_one_and_no_temporary(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x/below").touch()
    with pytest.raises(OSError, match="directory"):
        write_whole(tmp_path / "x", b"new", 0o644)
    assert os.listdir(tmp_path) == ["x"]
