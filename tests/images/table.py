"""The table of docs/images.md, made from what the tests compare: `python -m images.table` in tests/."""

from __future__ import annotations

from images.test_file_systems import FORMATS, Format

_HEAD = (
    *("made as", "read as", "modes, owners", "hard links", "symbolic links", "device nodes"),
    *("holes", "xattrs", "ACLs", "times to"),
)
_UNITS = {1: "1 ns", 100: "100 ns", 1_000_000_000: "1 s", 2_000_000_000: "2 s", 0: "-"}


def _row(name: str, chosen: Format) -> list[str]:
    wants, keeps = chosen.wants, chosen.keeps

    def mark(is_compared: bool) -> str:
        return "exact" if is_compared else "-"

    return [
        name.replace("_", " "),
        chosen.kind,
        mark(keeps.modes and wants.has_modes and wants.has_owners),
        mark(keeps.links and wants.has_links),
        mark(wants.has_symlinks),
        mark(keeps.devices and wants.has_nodes),
        mark(wants.has_large_sparse),
        mark(wants.has_xattrs or wants.has_ntfs_streams),
        mark(wants.has_acls),
        _UNITS[keeps.times_ns],
    ]


def table() -> str:
    rows = [list(_HEAD), ["---"] * len(_HEAD), *(_row(name, chosen) for name, chosen in FORMATS.items())]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


if __name__ == "__main__":
    print(table())
