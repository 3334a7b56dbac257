"""The systems that are compared, in the order of the table; the first is what the others are measured by."""

from __future__ import annotations

from tools.bench.systems.base import System
from tools.bench.systems.bindfs import Bindfs
from tools.bench.systems.plain import Plain, RsyncAfter
from tools.bench.systems.twinfs import TwinfsBatched, TwinfsSync

BASELINE = Plain.name

SYSTEMS: dict[str, type[System]] = {
    system.name: system for system in (Plain, Bindfs, RsyncAfter, TwinfsSync, TwinfsBatched)
}
