"""Whatever a disk holds, the table's readers answer, and raise nothing but ImageError."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twinfs.images.partitions import read_table
from twinfs.images.probes import is_known, probe
from unit.images.memory import MemorySource
from unit.images.partitions import test_gpt, test_mbr


def mbr_disk() -> MemorySource:
    disk = test_mbr.disk_with(
        test_mbr.entry(0x83, 10, 10), test_mbr.entry(0x05, 1000, 5000), test_mbr.entry(0xA5, 7000, 100)
    )
    test_mbr.put_record(disk, 1000, test_mbr.entry(0x83, 1, 10), test_mbr.entry(0x05, 100, 100))
    test_mbr.put_record(disk, 1100, test_mbr.entry(0x83, 1, 10))
    return disk


def gpt_disk() -> MemorySource:
    return test_gpt.disk_with(test_gpt.partition(100, 199, "x" * 36), test_gpt.partition(200, 300))


def apm_disk() -> MemorySource:
    disk = MemorySource.blank(1 << 20)
    disk.put(0, b"ER\x02\x00")
    for slot in (1, 2, 3):
        disk.put(slot * 512, b"PM\0\0\0\0\0\x03" + slot.to_bytes(4, "big") + b"\0\0\0\x20name")
    return disk


BUILDERS = {"mbr": mbr_disk, "gpt": gpt_disk, "apm": apm_disk}
# Where the structures are: the first sectors, and for GPT the last ones.
OFFSETS = st.one_of(
    st.integers(0, 2048), st.integers(1000 * 512, 1000 * 512 + 511), st.integers(1100 * 512, 1100 * 512 + 511)
)


@given(
    st.sampled_from(sorted(BUILDERS)),
    st.lists(st.tuples(OFFSETS, st.binary(min_size=1, max_size=8)), max_size=6),
)
def test_changed_bytes_give_a_table_or_none(name, changes):
    disk = BUILDERS[name]()
    for offset, data in changes:
        disk.put(min(offset, disk.size_bytes - 8), data)
    table = read_table(disk, is_known)
    for each in table.partitions:
        if not each.problem and not each.is_container:
            assert 0 <= each.start_sector < each.end_sector <= disk.size_bytes // table.sector_size


@given(st.sampled_from(sorted(BUILDERS)), st.integers(0, 70_000))
def test_a_disk_cut_off_anywhere_gives_a_table_or_none(name, length):
    disk = MemorySource(bytes(BUILDERS[name]().data[:length]))
    read_table(disk, is_known)


@given(st.binary(max_size=3000))
def test_probes_take_any_bytes(data):
    probe(MemorySource(data))
