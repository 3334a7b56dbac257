"""How what an image holds, and what goes wrong with it, is said to the kernel."""

from __future__ import annotations

import errno
import functools
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import pyfuse3

from twinfs.errors import ImageError
from twinfs.fuse.forever import FOREVER_SECONDS
from twinfs.fuse.image.reader import StaleError
from twinfs.images.worker.wire import PackedStat

log: Final = logging.getLogger(__name__)

BLOCK_BYTES: Final = 4096

_S = TypeVar("_S")
_P = ParamSpec("_P")
_T = TypeVar("_T")
_Handler = Callable[Concatenate[_S, _P], Coroutine[Any, Any, _T]]


def answered(handler: _Handler[_S, _P, _T]) -> _Handler[_S, _P, _T]:
    """What cannot be read is EIO for the caller and a line in the log; the mount goes on."""

    async def answer(self: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return await handler(self, *args, **kwargs)
        except StaleError:
            raise pyfuse3.FUSEError(errno.ESTALE) from None
        except ImageError as error:
            log.warning("%s", error)
            raise pyfuse3.FUSEError(errno.EIO) from None
        except OSError as error:
            raise pyfuse3.FUSEError(error.errno or errno.EIO) from None
        except pyfuse3.FUSEError:
            raise
        except Exception:
            log.exception("%s failed", handler.__name__)
            raise pyfuse3.FUSEError(errno.EIO) from None

    functools.update_wrapper(answer, handler)
    return answer


def entry_of(packed: PackedStat, shown_inode: int) -> pyfuse3.EntryAttributes:
    entry = pyfuse3.EntryAttributes()
    _, mode, links, uid, gid, device, size, blocks, atime, mtime, ctime = packed
    entry.st_ino = shown_inode
    entry.entry_timeout = entry.attr_timeout = FOREVER_SECONDS
    entry.st_mode = mode
    entry.st_nlink = min(links, 0xFFFFFFFF)
    entry.st_uid = uid & 0xFFFFFFFF
    entry.st_gid = gid & 0xFFFFFFFF
    entry.st_rdev = device & 0xFFFFFFFF
    entry.st_size = size
    entry.st_blksize = BLOCK_BYTES
    entry.st_blocks = blocks
    entry.st_atime_ns = atime
    entry.st_mtime_ns = mtime
    entry.st_ctime_ns = ctime
    return entry
