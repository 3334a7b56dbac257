"""The reader's process: `python -m twinfs.images.worker FD`, with a socket's descriptor."""

from __future__ import annotations

import gc
import socket
import sys
from typing import Final

from twinfs.images.worker import sandbox
from twinfs.images.worker.limits import apply_limits
from twinfs.images.worker.server import Server

_GARBAGE: Final = 50_000
"""Objects after which cycles are looked for. A directory's are many, and none of them is in a cycle."""


def main() -> None:
    gc.set_threshold(_GARBAGE)
    apply_limits()
    sandbox.apply()
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        Server(channel).run()


if __name__ == "__main__":
    main()
