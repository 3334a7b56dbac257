"""The JSON of the image commands."""

from __future__ import annotations

import msgspec

from twinfs.imageinfo import ImageInfo
from twinfs.report.json_lines import Json


def info_dict(info: ImageInfo) -> dict[str, Json]:
    return {"type": "image", **msgspec.to_builtins(info)}
