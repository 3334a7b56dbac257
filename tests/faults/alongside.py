"""Tests that spend their time waiting for a daemon to look again, run side by side.

    @alongside
    def test_something(base: Path, row: Row) -> None:   # `base`: a directory of its own that is not there yet
        ...

All such tests of a module that were asked for begin with the first of them; each reports for itself.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from conftest import make_workspace, remove_workspace

_AT_A_TIME = 16


def alongside(body: Callable[..., None]) -> Callable[..., None]:
    """Make a test of `body(base, **parameters)`, which runs in a thread of its own."""

    def test(request: pytest.FixtureRequest, running: dict[str, Future[None]], **parameters: Any) -> None:
        running[request.node.nodeid].result()

    functools.update_wrapper(test, body)
    del test.__wrapped__  # type: ignore[attr-defined]  # or pytest asks for the body's arguments
    own = list(inspect.signature(test).parameters.values())[:2]
    more = list(inspect.signature(body).parameters.values())[1:]
    test.__signature__ = inspect.Signature([*own, *more])  # type: ignore[attr-defined]  # see inspect
    test.alongside = body  # type: ignore[attr-defined]  # read below
    return test


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[None]]]:
    """The tests of the module, by their ids, on their way."""
    base = make_workspace()
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        yield {item.nodeid: pool.submit(_body_of(item, base)) for item in _chosen(request)}
    remove_workspace(base)


def _chosen(request: pytest.FixtureRequest) -> list[pytest.Function]:
    return [
        item
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.path == request.path
        and hasattr(item.function, "alongside")
    ]


def _body_of(item: pytest.Function, base: Path) -> Callable[[], None]:
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    directory = base / "".join(letter if letter.isalnum() else "-" for letter in item.name)[-60:]
    return functools.partial(item.function.alongside, directory, **parameters)
