"""The systems that are compared, in the order of the table; the first is what the others are measured by."""

from __future__ import annotations

from tools.bench.systems.base import System
from tools.bench.systems.bindfs import Bindfs
from tools.bench.systems.btrfs import BtrfsRaid1
from tools.bench.systems.gluster import GlusterReplica2
from tools.bench.systems.mergerfs import Mergerfs
from tools.bench.systems.plain import Plain, RsyncAfter
from tools.bench.systems.twinfs import TwinfsBatched, TwinfsSync

BASELINE = Plain.name

SYSTEMS: dict[str, type[System]] = {
    system.name: system
    for system in (
        Plain,
        Bindfs,
        Mergerfs,
        GlusterReplica2,
        BtrfsRaid1,
        RsyncAfter,
        TwinfsSync,
        TwinfsBatched,
    )
}
