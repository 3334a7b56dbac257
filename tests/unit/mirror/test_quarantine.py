"""Aside, never away."""

from __future__ import annotations

import os
from pathlib import Path

from twinfs.mirror.quarantine import Quarantine
from unit.mirror.kit import Pair


def folder(pair: Pair, quarantine: Quarantine) -> Path:
    return pair.secondary / quarantine.folder


def test_an_object_keeps_its_path_content_and_inode(pair: Pair) -> None:
    (pair.secondary / "d" / "e").mkdir(parents=True)
    file = pair.secondary / "d" / "e" / "f"
    file.write_text("mine")
    inode = file.stat().st_ino
    quarantine = Quarantine(pair.secondary_fd)
    quarantine.take(pair.applier.directory(b"d/e"), b"f", b"d/e/f")
    taken = folder(pair, quarantine) / "d" / "e" / "f"
    assert (taken.read_text(), taken.stat().st_ino) == ("mine", inode)
    assert not file.exists()
    assert quarantine.moved == 1


def test_a_directory_goes_with_all_below(pair: Pair) -> None:
    (pair.secondary / "d" / "e").mkdir(parents=True)
    (pair.secondary / "d" / "e" / "f").write_text("mine")
    quarantine = Quarantine(pair.secondary_fd)
    quarantine.take(pair.secondary_fd, b"d", b"d")
    assert (folder(pair, quarantine) / "d" / "e" / "f").read_text() == "mine"


def test_a_taken_name_gets_a_number_and_nothing_is_overwritten(pair: Pair) -> None:
    quarantine = Quarantine(pair.secondary_fd)
    long_name = "n" * 255
    for content in ("1", "2", "3"):
        for name in ("f", long_name):
            (pair.secondary / name).write_text(content)
            quarantine.take(pair.secondary_fd, os.fsencode(name), os.fsencode(name))
    contents = sorted(path.read_text() for path in folder(pair, quarantine).iterdir())
    assert contents == ["1", "1", "2", "2", "3", "3"]
    assert (folder(pair, quarantine) / "f.2").read_text() == "3"


def test_nothing_is_made_until_something_is_taken(pair: Pair) -> None:
    quarantine = Quarantine(pair.secondary_fd)
    assert not folder(pair, quarantine).exists()
    assert quarantine.moved == 0


def test_a_symbolic_link_goes_itself(pair: Pair) -> None:
    (pair.secondary / "l").symlink_to("/etc/hostname")
    quarantine = Quarantine(pair.secondary_fd)
    quarantine.take(pair.secondary_fd, b"l", b"l")
    assert os.readlink(folder(pair, quarantine) / "l") == "/etc/hostname"


def test_a_file_in_the_way_of_a_directory_in_quarantine_is_passed(pair: Pair) -> None:
    quarantine = Quarantine(pair.secondary_fd)
    (pair.secondary / "d").write_text("a file first")
    quarantine.take(pair.secondary_fd, b"d", b"d")
    (pair.secondary / "d").mkdir()
    (pair.secondary / "d" / "f").write_text("then below a directory of that name")
    quarantine.take(pair.applier.directory(b"d"), b"f", b"d/f")
    assert sorted(pair.quarantined().values()) == [b"a file first", b"then below a directory of that name"]


def test_a_copy_for_quarantine_overwrites_nothing_there(pair: Pair) -> None:
    quarantine = Quarantine(pair.secondary_fd)
    for name in (b"x.own", b"x"):
        (pair.secondary / os.fsdecode(name)).write_bytes(b"content of " + name)
    os.link(pair.secondary / "x", pair.secondary / "y")
    for name in (b"x.own", b"x"):
        quarantine.take(pair.secondary_fd, name, name)
    assert pair.quarantined() == {
        "x.own": b"content of x.own",
        "x": b"content of x",
    }
