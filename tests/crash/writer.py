"""A writer process: random operations until nobody answers any more, each noted before and after; or
until SIGTERM, which lets the one under way end.

    python -m crash.writer DIRECTORY LOG SEED

The log, a line each: `B [operation]` before it is asked for, `A answer` when it was answered. It
lies outside the volume and survives what the test does to the daemon.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys

from crash.operations import Actor, random_operation


def main(directory: str, log_path: str, seed: str) -> None:
    rng = random.Random(seed)
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    actor = Actor(directory)
    is_asked_to_end: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: is_asked_to_end.append(number))
    while not is_asked_to_end:
        operation = random_operation(rng)
        os.write(log, b"B " + json.dumps(operation).encode() + b"\n")
        try:
            answer = actor.do(operation)
        except OSError as error:
            print(f"ended by {error}", flush=True)
            return
        os.write(log, b"A " + answer.encode() + b"\n")
    actor.end()
    print("ended by request", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
