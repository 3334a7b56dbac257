"""Parameters of the image commands, described once."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from cyclopts import Parameter

ImagePath: TypeAlias = Annotated[str, Parameter(help="The image file, or a block device.")]
PathInside: TypeAlias = Annotated[str, Parameter(help="A path in the image, such as /p1/etc/hosts.")]
MapFile: TypeAlias = Annotated[
    str | None, Parameter(name="--map", help="ddrescue's map file of a disk that was partly read.")
]
