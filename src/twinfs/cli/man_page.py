"""twinfs(1), made from the commands themselves: `python -m twinfs.cli.man_page > docs/man/twinfs.1`.

So the manual cannot tell of options that are not there; a test holds the file equal to this.
Source of the markup: man(7).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from cyclopts import App

from twinfs import __version__
from twinfs.cli import image
from twinfs.cli.app import build_app
from twinfs.cli.main import SUMMARIES

_EXIT_CODES = {
    "0": "Done; for status: healthy.",
    "1": "Failed; scrub: all mismatches are repaired.",
    "2": "The command line or the settings ask for something that cannot be.",
    "3": "status: a volume is degraded or failed.",
    "4": "The volume is not mounted; scrub: mismatches are left.",
    "8": "scrub: it could not run.",
    "32": "scrub: interrupted.",
    "130": "Interrupted.",
}
_FILES = {
    "/etc/twinfs/NAME.toml": "A volume's settings ($XDG_CONFIG_HOME/twinfs for users).",
    "/var/lib/twinfs/NAME/": "Its intent log, events and daemon log ($XDG_STATE_HOME/twinfs for users).",
    "/run/twinfs/NAME.sock": "Its daemon's control socket ($XDG_RUNTIME_DIR/twinfs for users).",
    ".twinfs/": "At the root of each leg: its label, its quarantine and its versions.",
}
_FSTAB = "/mnt/disk1 /srv/photos fuse.twinfs secondary=/mnt/disk2,nofail 0 0"


def man_page() -> str:
    app = build_app(with_summaries=False)
    lines = [
        f'.TH TWINFS 1 "" "twinfs {__version__}" "User Commands"',
        *(".SH NAME", r"twinfs \- keep a directory tree on two ordinary disks, live"),
        *(".SH SYNOPSIS", r".B twinfs", r"\fICOMMAND\fR [\fIOPTION\fR]..."),
        ".SH COMMANDS",
    ]
    for name in SUMMARIES:
        below = image.SUMMARIES if name == "image" else ()
        for words in ((name,), *((name, each) for each in below)):
            lines += command_section(app, *words)
    lines += [".SH OPTIONS OF ALL COMMANDS", *option_list(app.meta)]
    lines += [".SH EXIT STATUS", *term_list(_EXIT_CODES), ".SH FILES", *term_list(_FILES)]
    lines += [".SH FSTAB", ".nf", escape(_FSTAB), ".fi"]
    lines += [".SH SEE ALSO", ".BR fstab (5),", ".BR mount (8),", ".BR fusermount3 (1)"]
    return "\n".join(lines) + "\n"


def command_section(app: App, *path: str, program: str = "twinfs") -> Iterator[str]:
    """A command's synopsis, what its docstring says, and its options; of a group, what it is for."""
    command = app
    for word in path:
        command = command[word]
    name = " ".join(path)
    if command.default_command is None:
        yield f".SS {escape(program)} {name} \\fICOMMAND\\fR"
        yield from paragraphs(str(command.help))
        return
    arguments = [argument for argument in command.assemble_argument_collection() if argument.show]
    operands = [argument for argument in arguments if not argument.name.startswith("-")]
    words = [word.name if word.required else f"[{word.name}]" for word in operands]
    yield f".SS {escape(program)} {name} {escape(' '.join(words))} [\\fIOPTION\\fR]..."
    function = command.default_command
    assert function is not None
    yield from paragraphs(inspect.getdoc(function) or "")
    yield from option_list(command)


def paragraphs(docstring: str) -> Iterator[str]:
    """Paragraphs; indented ones are examples, kept as they are."""
    for paragraph in docstring.split("\n\n"):
        is_example = paragraph.startswith("    ")
        yield ".PP"
        yield from (".nf", ".RS") if is_example else ()
        yield from (escape(line.strip()) for line in paragraph.splitlines())
        yield from (".RE", ".fi") if is_example else ()


def option_list(app: App) -> Iterator[str]:
    """What each option is called, and what it does."""
    for argument in app.assemble_argument_collection():
        if argument.show:
            yield ".TP"
            yield f".B {escape(', '.join(n for n in argument.names if not n.startswith('--no-')))}"
            yield escape(argument.parameter.help or "")


def term_list(entries: dict[str, str]) -> Iterator[str]:
    """Terms and what they mean."""
    for term, text in entries.items():
        yield from (".TP", f".B {escape(term)}", escape(text))


def escape(text: str) -> str:
    r"""Backslashes and hyphens mean something to roff, and so does a dot or quote at a line's start."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    print(man_page(), end="")
