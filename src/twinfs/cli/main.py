"""`twinfs`, under each of the names it is called by: find the command, run it, end with its exit code.

Nothing heavy is imported before it is known what for: people and scripts call `status` often.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from twinfs.cli.plain import run_plainly
from twinfs.cli.talk import say
from twinfs.errors import TwinfsError, UsageError

# What the overview says of each command; a test holds it equal to the first line of its docstring.
SUMMARIES = {
    "init": "Make two directories the legs of a new volume.",
    "mount": "Mount a volume; return when it answers.",
    "umount": "Unmount a volume and bring its secondary up to date.",
    "status": "Tell a volume's state, what is exposed, and what to do next.",
    "sync": "Bring the secondary up to date now, and wait for it.",
    "scrub": "Read both disks and compare them; with --repair, mend what is bad.",
    "mode": "Change when the secondary gets a change: at once, or in batches.",
    "resync": "Bring the secondary up to date with what the intent log names.",
    "rebuild": "Compare every byte of both legs, and copy what differs.",
    "detach": "Take a leg out, to unplug its disk.",
    "attach": "Put a detached leg back, and bring it up to date.",
    "replace": "Give a leg a new disk, while the volume is in use.",
    "promote": "Make the secondary the primary.",
    "versions": "List the old versions of a path and of what is below it.",
    "restore": "Bring back a file or a directory as it was.",
    "quarantine": "List what was put aside, never away; bring it back, or let it go.",
    "image": "Look into disk images, without root or a loop device.",
    "events": "List what happened to a volume, newest last.",
    "doctor": "Tell what this machine lacks, and the command that mends it.",
}


_READING = ("info", "ls", "cat", "extract")
"""Commands of `twinfs image` that end soon and want a reader; it loads while they do."""


def _is_no_image(tokens: Sequence[str]) -> bool:
    """A running machine's disk comes over a connection that its reader must be started with."""
    return any(token == "--help" or token.startswith("qmp:") for token in tokens)


def main() -> None:
    """The console script. mount(8) and umount(8) call it by a link in /sbin that has the helper's name."""
    match os.path.basename(sys.argv[0]):
        case "mount.fuse.twinfs":
            from twinfs.cli import mount_helper

            sys.exit(mount_helper.mount(sys.argv[1:]))
        case "umount.fuse.twinfs":
            from twinfs.cli import mount_helper

            sys.exit(mount_helper.umount(sys.argv[1:]))
        case _:
            sys.exit(run(sys.argv[1:]))


def run(tokens: Sequence[str]) -> int:
    """Run one command line and return its exit code; the message of a failure goes to stderr."""
    if tokens[:1] == ["image"] and len(tokens) > 2 and tokens[1] in _READING and not _is_no_image(tokens):
        from twinfs.images.worker.process import start_ahead

        start_ahead()
    try:
        code = run_plainly(tokens)
        return _run_parsed(tokens) if code is None else code
    except TwinfsError as error:
        say(f"twinfs: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (head, less) has had enough. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run_parsed(tokens: Sequence[str]) -> int:
    from cyclopts import CycloptsError

    from twinfs.cli.app import build_app

    is_overview = not any(token in SUMMARIES for token in tokens)
    app = build_app(with_summaries=is_overview)
    try:
        return app.meta(tokens, exit_on_error=False, print_error=False) or 0
    except CycloptsError as error:
        say(f"twinfs: {error}")
        return UsageError.exit_code


if __name__ == "__main__":
    main()
