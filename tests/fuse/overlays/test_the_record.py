"""What was changed is listed, and seen by the commands."""

from __future__ import annotations

import json
import os

from support.machine import needs_root, run
from support.mounted_image import unmount
from support.volume import twinfs_command

pytestmark = needs_root  # for owners and nodes in the images


def test_changes_are_listed_by_path(overlaid, overlay):
    mounted = overlaid()
    top = mounted.path / "p0"
    (top / "new").mkdir()
    os.rename(top / "deep", top / "new" / "deep")
    os.unlink(top / "new" / "deep" / "d" / "d" / "d" / "d" / "d" / "d" / "d" / "d" / "bottom")
    run("sed", "-i", "s/small/little/", top / "small")
    os.chmod(top / "holes", 0o600)
    os.unlink(os.fsencode(top) + b"/names/\xff\xfe raw \x80")
    expected = [
        ("changed", "/p0/holes", None),
        ("removed", "/p0/names/\\xff\\xfe raw \\x80", None),
        ("added", "/p0/new", None),
        ("renamed", "/p0/new/deep", "/p0/deep"),
        ("removed", "/p0/new/deep" + "/d" * 8 + "/bottom", None),
        ("changed", "/p0/small", None),
    ]

    def listed() -> list[tuple[str, str, str | None]]:
        lines = run(*twinfs_command(), "image", "changes", overlay, "--json").stdout.splitlines()
        found = [json.loads(line) for line in lines]
        assert {each["type"] for each in found} == {"change"}
        return [(each["kind"], each["path"], each["old_path"]) for each in found]

    while_mounted = listed()
    unmount(mounted, overlay)
    # The inode of `small` lost a name: that shows at its others.
    assert [
        each for each in while_mounted if each[1] not in ("/p0/third_name", "/p0/dir/second_name")
    ] == expected
    assert listed() == while_mounted
    text = run(*twinfs_command(), "image", "changes", overlay).stdout
    assert "renamed /p0/deep -> /p0/new/deep\n" in text


def test_commands_see_the_image_with_its_changes(overlaid, image, overlay):
    mounted = overlaid()
    (mounted.path / "p0" / "new").write_text("new content\n")
    unmount(mounted, overlay)
    words = ("--overlay", overlay, image)
    assert run(*twinfs_command(), "image", "cat", *words, "/p0/new").stdout == "new content\n"
    assert "new" in run(*twinfs_command(), "image", "ls", *words, "/p0").stdout.splitlines()
    assert "new" not in run(*twinfs_command(), "image", "ls", image, "/p0").stdout.splitlines()
