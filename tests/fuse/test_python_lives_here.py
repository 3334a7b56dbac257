"""A virtual environment on the volume, and pip installing into it, without a network."""

from __future__ import annotations

import base64
import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

from support.machine import run

_FILES = {
    "hello_twinfs/__init__.py": "def main() -> None:\n    print('hello from the volume')\n",
    "hello_twinfs/data.txt": "data\n" * 1000,
    "hello_twinfs-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: hello-twinfs\nVersion: 1.0\n",
    "hello_twinfs-1.0.dist-info/WHEEL": (
        "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    ),
    "hello_twinfs-1.0.dist-info/entry_points.txt": "[console_scripts]\nhello-twinfs = hello_twinfs:main\n",
}


def make_wheel(directory: Path) -> Path:
    """A wheel by hand: building one would need packages from a network."""
    wheel = directory / "hello_twinfs-1.0-py3-none-any.whl"
    record = ""
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in _FILES.items():
            archive.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={digest},{len(text)}\n"
        archive.writestr(
            "hello_twinfs-1.0.dist-info/RECORD", record + "hello_twinfs-1.0.dist-info/RECORD,,\n"
        )
    return wheel


@pytest.mark.deadline(300)
def test_a_virtual_environment_is_made_and_pip_installs_into_it(place: Path) -> None:
    run(sys.executable, "-m", "venv", place / "env", timeout=250)
    pip = (place / "env/bin/python", "-m", "pip", "--disable-pip-version-check", "--no-cache-dir")
    run(*pip, "install", "--no-index", make_wheel(place))
    assert run(place / "env/bin/hello-twinfs").stdout == "hello from the volume\n"
    assert "hello-twinfs" in run(*pip, "list").stdout
    run(*pip, "check")
    run(*pip, "uninstall", "--yes", "hello-twinfs")
    assert not (place / "env/bin/hello-twinfs").exists()
