"""The command tree, as cyclopts reads it from the commands' signatures and docstrings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from twinfs import __version__
from twinfs.cli.main import SUMMARIES
from twinfs.daemon.paths import resolve

_HELP = """Keep a directory tree on two ordinary disks, live.

Begin with:

    twinfs init /mnt/hd1 /mnt/hd1_mirror --name photos
    twinfs mount photos
"""


def build_app(*, with_summaries: bool) -> App:
    """The command tree, its commands imported only when used.

    A summary given here replaces the command's own help, so they are given only for the overview.
    """
    app = App(
        name="twinfs",
        help=_HELP,
        help_format="plaintext",
        version=__version__,
        result_action="return_value",
        default_parameter=Parameter(negative=(), show_default=False),
        suppress_keyboard_interrupt=False,
    )
    for name, summary in SUMMARIES.items():
        target = f"twinfs.cli.{name}:{name}"
        if with_summaries:
            app.command(target, name=name, help=summary)
        else:
            app.command(target, name=name)
    if with_summaries:
        # 20 ms that only the overview, which names it, has to pay.
        app.register_install_completion_command(add_to_startup=False)
    _add_global_options(app)
    return app


def _add_global_options(app: App) -> None:
    """Let the meta app read them, before or after any command; see cyclopts, "Meta App"."""
    app.meta.suppress_keyboard_interrupt = False

    @app.meta.default
    def launch(
        *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        config_dir: Annotated[
            Path | None, Parameter(help="Where volumes' settings are (also TWINFS_CONFIG_DIR).")
        ] = None,
        state_dir: Annotated[
            Path | None, Parameter(help="Where intent logs and events are (also TWINFS_STATE_DIR).")
        ] = None,
    ) -> int | None:
        command, bound, injected = app.parse_args(tokens, exit_on_error=False, print_error=False)
        extra = {}
        if "paths" in injected:
            is_root = os.geteuid() == 0
            extra["paths"] = resolve(config_dir, state_dir, os.environ, is_root=is_root)
        result: int | None = command(*bound.args, **bound.kwargs, **extra)
        return result
