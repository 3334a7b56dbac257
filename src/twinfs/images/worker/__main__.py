"""The reader's process: `python -m twinfs.images.worker FD`, with a socket's descriptor."""

from __future__ import annotations

import socket
import sys

from twinfs.images.worker import sandbox
from twinfs.images.worker.limits import apply_limits
from twinfs.images.worker.server import Server


def main() -> None:
    apply_limits()
    sandbox.apply()
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        Server(channel).run()


if __name__ == "__main__":
    main()
