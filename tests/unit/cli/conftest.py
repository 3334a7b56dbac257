"""The command line in this process, against scratch directories."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from twinfs.cli import main
from twinfs.daemon.paths import Paths


@dataclass
class Answer:
    """What a command printed and ended with."""

    code: int
    out: str
    err: str


class Cli:
    """Runs commands and keeps everything below one directory."""

    def __init__(self, base: Path, capture) -> None:
        self.base = base
        self.capture = capture
        self.paths = Paths(base / "config", base / "state", base / "state" / "run")
        self.primary, self.secondary = base / "primary", base / "secondary"
        for leg in (self.primary, self.secondary):
            leg.mkdir()

    def __call__(self, *tokens) -> Answer:
        places = ("--config-dir", self.paths.config_dir, "--state-dir", self.paths.state_dir)
        code = main.run([str(token) for token in (*tokens, *places)])
        out, err = self.capture.readouterr()
        return Answer(code, out, err)

    def init(self, *options) -> Answer:
        return self("init", self.primary, self.secondary, "--name", "pair", *options)


@pytest.fixture
def cli(tmp_path, capsys, monkeypatch) -> Cli:
    for variable in ("TWINFS_CONFIG_DIR", "TWINFS_STATE_DIR", "TWINFS_RUN_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return Cli(tmp_path, capsys)
