"""twinfs-qemu(1): `python -m twinfs_qemu.man_page > docs/man/twinfs-qemu.1`.

Made from the commands themselves, as twinfs(1) is; a test holds the file equal to this.
"""

from __future__ import annotations

from twinfs import __version__
from twinfs.cli.man_page import command_section, term_list
from twinfs_qemu.main import SUMMARIES, build_app
from twinfs_qemu.net import group

_EXIT_CODES = {
    "0": "Done; check: nothing was lost.",
    "1": "Failed; check: something was lost.",
    "2": "Refused, or the command line asks for something that cannot be; nothing was changed.",
    "4": "No machine of that name runs.",
    "130": "Interrupted; the machine was ended, what was begun is taken back.",
}
_FILES = {
    "/run/twinfs/qemu/machines/NAME/": "A machine that runs: its monitor, console and messages"
    " ($XDG_RUNTIME_DIR/twinfs/qemu for users).",
    "/run/twinfs/qemu/net/": "What the networks have changed, and the leases of their guests.",
    "DISK.uefi": "What the firmware of a machine with --uefi remembers.",
}


def man_page() -> str:
    app = build_app(with_summaries=False)
    lines = [
        f'.TH TWINFS\\-QEMU 1 "" "twinfs {__version__}" "User Commands"',
        *(".SH NAME", r"twinfs\-qemu \- virtual machines: boot what you keep"),
        *(".SH SYNOPSIS", r".B twinfs\-qemu", r"\fICOMMAND\fR [\fIOPTION\fR]..."),
        ".SH COMMANDS",
    ]
    for name in SUMMARIES:
        below = group.SUMMARIES if name == "net" else ()
        for words in ((name,), *((name, each) for each in below)):
            lines += command_section(app, *words, program="twinfs-qemu")
    lines += [".SH EXIT STATUS", *term_list(_EXIT_CODES), ".SH FILES", *term_list(_FILES)]
    lines += [".SH SEE ALSO", ".BR twinfs (1),", ".BR qemu (1),", ".BR qemu\\-img (1),", ".BR nft (8)"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(man_page(), end="")
