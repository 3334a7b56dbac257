"""Parameters of the image commands, described once."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from cyclopts import Parameter

from twinfs.errors import ImageError

_MAX_PASSPHRASE_BYTES: Final = 8 << 20
"""As of cryptsetup's key files."""

ImagePath: TypeAlias = Annotated[
    str, Parameter(help="The image file, a block device, or qmp:NAME of a machine.")
]
PathInside: TypeAlias = Annotated[str, Parameter(help="A path in the image, such as /p1/etc/hosts.")]
MapFile: TypeAlias = Annotated[
    str | None, Parameter(name="--map", help="ddrescue's map file of a disk that was partly read.")
]
OverlayDirectory: TypeAlias = Annotated[
    str | None, Parameter(name="--overlay", help="Changes to the image, made by image mount --overlay.")
]
PassphraseFile: TypeAlias = Annotated[
    str | None,
    Parameter(
        name="--passphrase-file",
        allow_leading_hyphen=True,
        help="A file with the passphrase of LUKS volumes in the image; - is standard input.",
    ),
]


def passphrase_in(path: str | None) -> bytes | None:
    """Without the newline that ends it, if one does. Raises ImageError."""
    if path is None:
        return None
    try:
        with open("/dev/stdin" if path == "-" else path, "rb") as file:
            found = file.read(_MAX_PASSPHRASE_BYTES + 1)
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror}") from None
    if len(found) > _MAX_PASSPHRASE_BYTES:
        raise ImageError(f"{path}: too long for a passphrase")
    return found.removesuffix(b"\n")
