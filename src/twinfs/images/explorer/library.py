"""With `ext` the only importer of fs-explorer: what twinfs uses of it, and its errors made ours.

These are its internals, not its documented interface, so its version is pinned exactly.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, Final, cast

from fs_explorer.codecs import native
from fs_explorer.entry import EntryType
from fs_explorer.errors import PARSER_ERRORS, FsExplorerError
from fs_explorer.errors import TargetNotFoundError as NotFound
from fs_explorer.io.cache import Cache
from fs_explorer.io.imagefile import ImageFile
from fs_explorer.io.parallel import Pool
from fs_explorer.io.source import PhysicalRange, RandomAccess
from fs_explorer.io.stats import Stats
from fs_explorer.tree import (
    BlockSource,
    Context,
    Driver,
    Node,
    ProbeHint,
    StreamFactory,
    Tree,
    VolumeInfo,
    VolumeSet,
)

from twinfs.errors import ImageError
from twinfs.images.protocol import ByteSource

__all__ = [
    "BlockSource",
    "Driver",
    "EntryType",
    "ImageFile",
    "Node",
    "NotFound",
    "RandomAccess",
    "SourceAccess",
    "StreamFactory",
    "Tree",
    "VolumeInfo",
    "VolumeSet",
    "compressed_size",
    "driver",
    "guarded",
    "lz4_block",
    "make_context",
    "open_with",
    "stream_factory",
    "zstd_beginning",
]


def _names_of_library(stem: str, extra: Sequence[str] = ()) -> list[str]:
    return [*extra, f"lib{stem}.so"]


# Its own asks ldconfig, gcc and ld where liblz4 is. A reader may start no program nor make the file that gcc
# would write, and that is an error where a compiler is installed: then nothing compressed could be read.
vars(native)["_candidates"] = _names_of_library

_CACHE_BYTES: Final = 32 << 20
_THREADS: Final = 2
_ZSTD_PIECE_BYTES: Final = 512
"""Four bytes may become 128 KiB."""
_WINDOW: Final = -1
"""Stands for our window where the library would put a descriptor of its own."""
# A parser fed with garbage may stumble over anything; none of it is a reason to end the process.
_STUMBLES: Final[tuple[type[BaseException], ...]] = (
    *PARSER_ERRORS,
    AttributeError,
    TypeError,
    AssertionError,
    LookupError,
    ArithmeticError,
)


# It reads on where a parent is another disk than the child was made for, or a log cannot be replayed, and
# that would be wrong bytes. Where it mends by a copy of a structure, it may.
warnings.filterwarnings("error", r"vhdx?: (parent|log) ", UserWarning)
warnings.filterwarnings("ignore", r"vhd: .* continuing", UserWarning)


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Whatever the library raises becomes an ImageError that begins with `what`."""
    try:
        yield
    except ImageError:
        raise
    except FsExplorerError as error:
        raise ImageError(f"{what}: {error}") from None
    except MemoryError:
        raise ImageError(f"{what}: it asks for more memory than a reader may have") from None
    except UserWarning as error:
        raise ImageError(f"{what}: {str(error).partition(': ')[2]}") from None
    except _STUMBLES as error:
        raise ImageError(f"{what}: damaged ({type(error).__name__}: {error})") from None
    except OSError as error:
        raise ImageError(f"{what}: {error.strerror or error}") from None


class SourceAccess(RandomAccess):
    """One of our windows as the library wants to see bytes."""

    def __init__(self, source: ByteSource) -> None:
        self.source = source
        self.size = source.size_bytes
        self.must_have_all = False
        """What lies behind the end is an error. The library takes it for zeros: in a file of an image that
        was cut off they would pass for its bytes, in a directory for its end."""

    def read_at(self, off: int, n: int) -> bytes:
        if self.must_have_all and off + n > self.size:
            raise ImageError(f"nothing at byte {max(off, self.size)}, behind the end of the image")
        return self.source.read_at(off, n)

    def physical_ranges(self, off: int, n: int) -> list[PhysicalRange] | None:
        if not self.must_have_all:
            n = min(n, self.size - off)
        return [(_WINDOW, off, n)] if n > 0 and off >= 0 else []


def make_context(resolve: Callable[[str], RandomAccess] | None = None) -> Context:
    """`resolve` opens what an image names beside itself; without it nothing is opened."""
    stats = Stats()
    return Context(
        cache=Cache(_CACHE_BYTES, stats),
        stats=stats,
        # A RandomAccess is passed through as it is, though the annotation knows only of files.
        resolver=cast("Callable[[str], BinaryIO] | None", resolve),
        pool=Pool(_THREADS),
    )


def driver(module: str, name: str) -> type[Driver]:
    found = getattr(importlib.import_module(module), name)
    return cast("type[Driver]", found)


def open_with(
    chosen: type[Driver], access: RandomAccess, context: Context, name: str | None = None
) -> BlockSource | VolumeSet | Tree | object:
    try:
        hint = ProbeHint.make(access, name)
    except ImageError:
        # What it read is the end, which may be gone; drivers look there themselves where they need to.
        hint = ProbeHint(access, access.read_at(0, ProbeHint.HEAD), b"", access.size, name)
    return chosen.open(access, context, hint)


def stream_factory(codec: str, access: RandomAccess, context: Context) -> StreamFactory:
    """Decodes from any offset, remembering places to resume from."""
    from fs_explorer.codecs import resumable

    return resumable.stream_factory(
        codec,
        access,
        backend=context.backend,
        stats=context.stats,
        pool=context.pool,
        budget=context.cache.budget // 4,
    )


def lz4_block(raw: bytes, size: int) -> bytes:
    """One block, decoded to at most `size` bytes; nothing where it is damaged."""
    from fs_explorer.codecs import lz4

    chosen = lz4.get("system", "lz4") or lz4.get("pure", "lz4")
    assert chosen is not None
    try:
        return bytes(chosen[1](raw, size))
    except FsExplorerError:
        return b""


def zstd_beginning(raw: bytes, size: int) -> bytes:
    """The first `size` bytes of what a frame decodes to; fewer where it is damaged."""
    from fs_explorer.codecs import zstd

    made = bytearray()
    try:
        decoder = zstd.stream_decoder()
        # In pieces: what a frame claims to decode to may be more than there is memory.
        for at in range(0, len(raw), _ZSTD_PIECE_BYTES):
            made += decoder.decompress(raw[at : at + _ZSTD_PIECE_BYTES])
            if len(made) >= size or decoder.eof:
                break
    except FsExplorerError:
        return b""
    return bytes(made[:size])


def compressed_size(codec: str, access: RandomAccess) -> int | None:
    """The size of what is compressed, where the file says it for certain (an xz index, zstd's frames)."""
    from fs_explorer.containers import streams

    try:
        if codec == "xz":
            said = streams._xz_meta(access)
        elif codec == "zstd":
            said = streams._zstd_meta(access)
        else:
            return None
    except FsExplorerError:
        return None
    size = said.get("size") if said.get("exact") else None
    return size if isinstance(size, int) else None
