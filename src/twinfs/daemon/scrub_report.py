"""A volume's scrubs as a page of HTML."""

from __future__ import annotations

from twinfs.daemon.paths import Paths
from twinfs.errors import ScrubError
from twinfs.model import VolumeConfig
from twinfs.report.scrub_html import scrub_html
from twinfs.scrub.runs import Runs
from twinfs.scrub.store import FILE_NAME, Store


def html_of(paths: Paths, config: VolumeConfig) -> str:
    """The last finished scrub, and those before it. ScrubError when there was none."""
    store = Store(paths.volume_dir(config.name) / FILE_NAME)
    try:
        runs = Runs(store)
        history = runs.history()
        if not history:
            raise ScrubError(f"volume {config.name} has never been scrubbed to the end")
        return scrub_html(config.name, history, runs.last_findings())
    finally:
        store.close()
