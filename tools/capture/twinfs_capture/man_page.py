"""twinfs-capture(1): `python -m twinfs_capture.man_page > docs/man/twinfs-capture.1`.

Made from the commands themselves, as twinfs(1) is; a test holds the file equal to this.
"""

from __future__ import annotations

from twinfs import __version__
from twinfs.cli.man_page import command_section, term_list
from twinfs_capture.main import SUMMARIES, build_app

_EXIT_CODES = {
    "0": "Done; disk: all of SOURCE is in DEST. A recording that Ctrl-C ended is done.",
    "1": "Failed; disk: something could not be read, and is zeros in DEST, or differs.",
    "2": "Refused, or the command line asks for something that cannot be; nothing was written.",
    "130": "Interrupted.",
}
_FILES = {
    "DEST.map": "What of a disk was read, in the format of GNU ddrescue's map file.",
    "DEST.blake3, DEST.sha256...": "Hashes, for b3sum -c, sha256sum -c...",
    "DEST.raw": "With --format qcow2, until nothing is left to read.",
}


def man_page() -> str:
    app = build_app(with_summaries=False)
    lines = [
        f'.TH TWINFS\\-CAPTURE 1 "" "twinfs {__version__}" "User Commands"',
        *(".SH NAME", r"twinfs\-capture \- a disk into an image, a screen into a film"),
        *(".SH SYNOPSIS", r".B twinfs\-capture", r"\fICOMMAND\fR [\fIOPTION\fR]..."),
        ".SH COMMANDS",
    ]
    for name in SUMMARIES:
        lines += command_section(app, name, program="twinfs-capture")
    lines += [".SH EXIT STATUS", *term_list(_EXIT_CODES), ".SH FILES", *term_list(_FILES)]
    lines += [".SH SEE ALSO", ".BR twinfs (1),", ".BR ddrescue (1),", ".BR b3sum (1)"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(man_page(), end="")
