"""Snapshots whose holder was killed.

Whoever has a snapshot keeps a connection to its export open, as long as it lives. The kernel closes that
however it ends, and QEMU knows: an export that nobody is connected to can be withdrawn, one in use cannot.
"""

from __future__ import annotations

from pathlib import Path

from twinfs.images.running import graph, server, snapshot
from twinfs.images.running.monitor import Monitor


def clean(monitor: Monitor, path: Path) -> int:
    """How many there were. Raises MonitorError."""
    exported = [ident for name in graph.exports(monitor) if (ident := graph.ident_in(name)) is not None]
    # One without an export was killed while it was put in or taken out: its monitor would be open else.
    left = graph.Graph(monitor).idents() - set(exported)
    left |= {ident for ident in exported if server.withdraw(monitor, ident, is_forced=False)}
    for ident in left:
        snapshot.remove(monitor, graph.Names(ident))
    if left:
        server.stop_if_unused(monitor, path)
    return len(left)


def clean_machine(monitor_path: Path, path: Path) -> int:
    """As `clean`, of a machine that nobody has asked yet; nothing where it never had a snapshot."""
    if not path.exists():
        return 0
    with Monitor(monitor_path, timeout=10.0) as monitor:
        return clean(monitor, path)
