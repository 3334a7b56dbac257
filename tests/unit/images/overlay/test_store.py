from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from twinfs.errors import ImageError
from twinfs.images.overlay import Store


def test_a_store_that_died_while_it_was_made_is_made_again(tmp_path: Path, monkeypatch):
    place = tmp_path / "overlay"
    calls = {"mkdir": os.mkdir, "chmod": os.chmod, "rename": os.rename}
    for name, call in calls.items():
        if name == "mkdir":
            place.mkdir()  # the directory itself was made

        def die(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(os, name, die)
        with pytest.raises(KeyboardInterrupt):
            Store(str(place), may_create=True)
        monkeypatch.setattr(os, name, call)
    opened = Store(str(place), may_create=True)
    assert opened.meta("format") == "1"
    opened.close()


def test_what_is_in_it_is_its_owner_s_alone(tmp_path: Path):
    tmp_path.chmod(0o755)
    os.umask(0o022)
    (tmp_path / "overlay").mkdir(mode=0o755)
    opened = Store(str(tmp_path / "overlay"), may_create=True)
    opened.set_meta("key", "value")
    for path in (tmp_path / "overlay").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    opened.close()


def test_damaged_or_newer_ones_are_refused(tmp_path: Path):
    place = tmp_path / "overlay"
    opened = Store(str(place), may_create=True)
    opened.set_meta("format", "2")
    opened.close()
    with pytest.raises(ImageError, match="another version"):
        Store(str(place))
    (place / "changes").write_bytes(b"garbage" * 1000)
    with pytest.raises(ImageError, match="cannot be read"):
        Store(str(place))


def test_a_failed_transaction_leaves_nothing(tmp_path: Path):
    opened = Store(str(tmp_path / "overlay"), may_create=True)
    with pytest.raises(RuntimeError), opened.transaction():
        opened.set_meta("key", "value")
        raise RuntimeError
    assert opened.meta("key") == ""
    opened.close()


def test_a_full_disk_is_enospc(tmp_path: Path):
    opened = Store(str(tmp_path / "overlay"), may_create=True)
    opened.run("PRAGMA max_page_count = 20")
    with pytest.raises(OSError, match="full") as full, opened.transaction():
        opened.set_meta("key", "v" * 1_000_000)
    assert full.value.errno == 28
    assert opened.meta("key") == ""
    opened.close()
