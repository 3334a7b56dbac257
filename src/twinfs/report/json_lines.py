"""The JSON that scripts rely on: docs/interface.md promises these names. Add, never rename."""

from __future__ import annotations

from dataclasses import asdict
from typing import TypeAlias

import msgspec

from twinfs.model import ChannelTest, Event, VolumeStatus

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


def status_dict(status: VolumeStatus) -> dict[str, Json]:
    """One object a volume, its type first."""
    return {"type": "status", **msgspec.to_builtins(status)}


def event_dict(event: Event) -> dict[str, Json]:
    return {"type": "event", **asdict(event)}


def channel_dict(channel: ChannelTest) -> dict[str, Json]:
    return {"type": "channel", **asdict(channel)}


def line(value: dict[str, Json]) -> str:
    """One line of JSON without its newline."""
    return msgspec.json.encode(value).decode()
