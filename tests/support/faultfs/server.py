"""A fault layer's process.

    python -m support.faultfs.server DIRECTORY MOUNTPOINT SOCKET

Serves DIRECTORY at MOUNTPOINT until it is unmounted or killed. Over SOCKET it takes lines of JSON, one
request each, and answers each with one line: {"do": "add", "rule": {...}}, and "remove", "counts" with
the "number" that "add" answered, and "clear".
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pyfuse3
import trio

from support.faultfs.passthrough import PassThrough
from support.faultfs.rules import RuleBook, rule_of

_TASKS = 1000
"""Requests at a time; one that hangs keeps its own."""


class Control:
    def __init__(self, rules: RuleBook) -> None:
        self._rules = rules

    async def talk(self, stream: trio.SocketStream) -> None:
        left = b""
        async for chunk in stream:
            *lines, left = (left + chunk).split(b"\n")
            for line in lines:
                try:
                    answer = self._do(json.loads(line))
                except (TypeError, ValueError, KeyError) as error:
                    answer = {"error": repr(error)}
                await stream.send_all(json.dumps(answer).encode() + b"\n")

    def _do(self, request: dict[str, Any]) -> dict[str, Any]:
        match request["do"]:
            case "add":
                return {"number": self._rules.add(rule_of(request["rule"]))}
            case "remove":
                self._rules.remove(request["number"])
            case "clear":
                self._rules.clear()
            case "counts":
                return self._rules.counts(request["number"])
            case other:
                raise ValueError(f"unknown request: {other}")
        return {}


async def serve(socket_path: str, rules: RuleBook) -> None:
    listener = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    await listener.bind(socket_path)
    listener.listen()
    control = Control(rules)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, control.talk, [trio.SocketListener(listener)])
        await pyfuse3.main(max_tasks=_TASKS)
        nursery.cancel_scope.cancel()


def main(directory: str, mountpoint: str, socket_path: str) -> None:
    os.umask(0)  # the kernel has applied the caller's
    rules = RuleBook()
    options = {"fsname=faults", "default_permissions", "allow_other"}
    pyfuse3.init(PassThrough(Path(directory), rules), mountpoint, options)
    try:
        trio.run(serve, socket_path, rules)
    finally:
        pyfuse3.close(unmount=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
