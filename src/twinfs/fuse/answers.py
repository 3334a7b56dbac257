"""How a handler's failure becomes the caller's errno.

Errnos for callers are made here and in the handlers, nowhere else: an OSError is the caller's answer,
anything else is our bug, logged, and EIO for that one request.
"""

from __future__ import annotations

import errno
import functools
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Final, ParamSpec, TypeAlias, TypeVar

import pyfuse3

log: Final = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")
_S = TypeVar("_S")
_Handler: TypeAlias = Callable[Concatenate[_S, _P], Coroutine[Any, Any, _T]]


def answered(handler: _Handler[_S, _P, _T]) -> _Handler[_S, _P, _T]:
    """One uncaught exception would end the whole mount."""

    async def answer(self: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return await handler(self, *args, **kwargs)
        except OSError as error:
            raise pyfuse3.FUSEError(error.errno or errno.EIO) from None
        except pyfuse3.FUSEError:
            raise
        except Exception:
            log.exception("%s failed", handler.__name__)
            raise pyfuse3.FUSEError(errno.EIO) from None

    functools.update_wrapper(answer, handler)
    return answer
