"""`python tools/bench` puts this directory first on the path; the package is found from the checkout."""

from __future__ import annotations

import sys
from pathlib import Path


def run() -> int:
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    from tools.bench.cli import main

    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(run())
