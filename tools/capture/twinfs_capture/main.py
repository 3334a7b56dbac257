"""`twinfs-capture`: find the command, run it, end with its exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from twinfs.cli.talk import say
from twinfs.errors import TwinfsError, UsageError

if TYPE_CHECKING:
    from cyclopts import App

_HELP = """A disk into an image, a screen into a film.

Begin with:

    twinfs-capture disks
    twinfs-capture disk /dev/sdb usb_key.img --hash blake3
"""

# What the overview says of each command; a test holds it equal to the first line of its docstring.
SUMMARIES = {
    "disk": "Copy a disk, partition or file into an image, past bad sectors.",
    "screen": "Record an X screen, a part of it or a window, into a film or into frames.",
    "convert": "Make a film of pictures, pictures of a film, or pictures of another kind.",
    "frames": "Mount a recording as img_0001.png, img_0001.xwd...: frames without the disk space.",
    "play": "Show pictures as a film, without making one; through mpv or ffplay.",
    "disks": "List removable disks and their partitions: what `twinfs-capture disk` could read.",
}
TARGETS = {
    "disk": "twinfs_capture.disk.command:disk",
    "screen": "twinfs_capture.screen.command:screen",
    "convert": "twinfs_capture.convert:convert",
    "frames": "twinfs_capture.frames.command:frames",
    "play": "twinfs_capture.play:play",
    "disks": "twinfs_capture.disks:disks",
}


def main() -> None:
    sys.exit(run(sys.argv[1:]))


def build_app(*, with_summaries: bool) -> App:
    """The command tree, its commands imported only when used.

    A summary given here replaces the command's own help, so they are given only for the overview.
    """
    from cyclopts import App, Parameter

    from twinfs import __version__

    app = App(
        name="twinfs-capture",
        help=_HELP,
        help_format="plaintext",
        version=__version__,
        result_action="return_value",
        default_parameter=Parameter(show_default=False),
        suppress_keyboard_interrupt=False,
    )
    for name, target in TARGETS.items():
        app.command(target, name=name, help=SUMMARIES[name] if with_summaries else None)
    return app


def run(tokens: Sequence[str]) -> int:
    """Run one command line and return its exit code; the message of a failure goes to stderr."""
    from cyclopts import CycloptsError

    app = build_app(with_summaries=not any(token in SUMMARIES for token in tokens))
    try:
        return app(tokens, exit_on_error=False, print_error=False) or 0
    except CycloptsError as error:
        say(f"twinfs-capture: {error}")
        return UsageError.exit_code
    except TwinfsError as error:
        say(f"twinfs-capture: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (head, less) has had enough. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    main()
