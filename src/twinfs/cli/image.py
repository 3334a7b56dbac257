"""`twinfs image`: disk images as directories. One module a command."""

from __future__ import annotations

from typing import Final

from cyclopts import App

SUMMARIES: Final = {
    "info": "Tell what an image holds: its partitions and their file systems.",
    "ls": "List what is in an image.",
    "cat": "Write a file of an image to standard output.",
    "extract": "Copy a file or directory out of an image.",
    "affected": "List the files that lie where a disk could not be read.",
    "mount": "Mount an image as a directory, without root.",
    "changes": "List what was changed in an image mounted with an overlay.",
}

_HELP: Final = "\n".join(
    [
        "Look into disk images, without root or a loop device.",
        "",
        *(f"{name}: {summary}" for name, summary in SUMMARIES.items()),
        "",
        "For example:",
        "",
        "    twinfs image info disk.img",
        "    twinfs image ls disk.img /p1/etc",
    ]
)


def __getattr__(name: str) -> App:
    """`image`, made anew each time: an App belongs to the one it was added to."""
    if name != "image":
        raise AttributeError(name)
    made = App(name="image", help=_HELP)
    for command in SUMMARIES:
        made.command(f"twinfs.cli.image_{command}:{command}", name=command)
    return made
