"""Two sides, one file system: what one of them can answer must not be lost on the way."""

from __future__ import annotations

import inspect

import pyfuse3
import pytest

from twinfs.fuse.operations import Operations
from twinfs.fuse.routing import Routing
from twinfs.fuse.virtual.operations import VirtualOperations


def handlers(side):
    """Requests that a side answers itself, where pyfuse3 would say ENOSYS."""
    known = {name for name in dir(pyfuse3.Operations) if not name.startswith("_")}
    return {name for name, value in vars(side).items() if name in known and callable(value)}


@pytest.mark.parametrize("side", [Operations, VirtualOperations])
def test_every_request_that_a_side_answers_is_handed_to_it(side):
    assert len(handlers(side)) > 10
    assert handlers(side) <= handlers(Routing)


def test_parameters_keep_their_names_and_order():
    for name in handlers(Operations) & handlers(Routing):
        real, routed = (inspect.signature(getattr(side, name)) for side in (Operations, Routing))
        assert list(routed.parameters) == list(real.parameters), name


@pytest.mark.parametrize("switch", ["supports_dot_lookup", "enable_writeback_cache", "enable_acl"])
def test_what_is_switched_on_for_the_tree_is_on_for_both(switch):
    assert getattr(Routing, switch) is getattr(Operations, switch)
