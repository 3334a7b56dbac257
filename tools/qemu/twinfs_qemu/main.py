"""`twinfs-qemu`: find the command, run it, end with its exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from twinfs.cli.talk import say
from twinfs.errors import TwinfsError, UsageError

if TYPE_CHECKING:
    from cyclopts import App

_HELP = """Virtual machines: boot what you keep.

Begin with:

    twinfs-qemu create disk.qcow2 10G
    twinfs-qemu run disk.qcow2 --cdrom debian.iso --boot cdrom
"""

# What the overview says of each command; a test holds it equal to the first line of its docstring.
SUMMARIES = {
    "create": "Make an empty disk image; refuse to overwrite anything.",
    "run": "Boot a disk image, or a CD-ROM with it.",
    "convert": "Convert a disk image into another format, and compare both in the end.",
    "net": "A network for guests: a tap device, DHCP, masquerading.",
    "list": "List the machines that run; clean up what killed ones have left.",
    "check": "Show that host and guest reach each other, with loss and times.",
    "stop": "Shut a machine down as its power button would; switch it off if it does not listen.",
    "console": "Talk to a machine's serial console; Ctrl-] leaves it.",
}
TARGETS = {
    "create": "twinfs_qemu.create:create",
    "run": "twinfs_qemu.run:run",
    "convert": "twinfs_qemu.convert:convert",
    "net": "twinfs_qemu.net.group:net",
    "list": "twinfs_qemu.machines:list_machines",
    "check": "twinfs_qemu.check:check",
    "stop": "twinfs_qemu.machines:stop",
    "console": "twinfs_qemu.machines:console",
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
        name="twinfs-qemu",
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
        say(f"twinfs-qemu: {error}")
        return UsageError.exit_code
    except TwinfsError as error:
        say(f"twinfs-qemu: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (head, less) has had enough. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    main()
