"""Damaged images: an ImageError or a part of the tree, soon, and in little memory. Never anything else."""

from __future__ import annotations

import random
import tracemalloc
from time import monotonic

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from images.xfs import damage
from images.xfs.sources import ChangedSource, FileSource
from support.machine import needs_root
from twinfs.errors import ImageError
from twinfs.images.xfs import open_file_system

pytestmark = needs_root
MAKERS = {"v4": damage.without_checksums, "v5": damage.with_checksums}
DIRECTORY_INDEXES = (b"\x3d\xf1", b"\x3d\xff", b"\x3e\xbe")
"""Where one is damaged, names are found without it. The last one is of attributes, too."""
_SECONDS = 10
"""For one walk; an intact one takes a hundredth of that."""


@pytest.fixture(scope="module", params=list(MAKERS))
def image(request, tmp_path_factory):
    return MAKERS[request.param](tmp_path_factory.mktemp("damage"))


@pytest.fixture(scope="module")
def source(image):
    return damage.in_memory(image)


@pytest.fixture(autouse=True)
def undamaged(source):
    yield
    source.changes = {}


def walk_within_limits(source: ChangedSource) -> list[str]:
    started = monotonic()
    said = damage.walk(source)
    assert monotonic() - started < _SECONDS
    return said


def test_the_walk_sees_every_structure(source):
    """Or the other tests here would damage nothing that matters."""
    assert damage.walk(source) == []
    first = {part[:4] for part in source.parts()}
    at_8 = {part[8:10] for part in source.parts()}
    if b"BMA3" in first:
        assert first >= {b"XFSB", b"XDB3", b"XDD3", b"BMA3", b"XSLM", b"XARM"}
        assert at_8 >= {b"\x3d\xf1", b"\x3d\xff", b"\x3e\xbe", b"\x3b\xee"}
    else:
        assert first >= {b"XFSB", b"XD2B", b"XD2D", b"BMAP"}
        assert at_8 >= {b"\xd2\xf1", b"\xd2\xff", b"\xfe\xbe", b"\xfb\xee"}


def log_of(source: ChangedSource) -> range:
    """Its bytes. Its checksums are for replaying it, which a reader does not."""
    superblock = open_file_system(source)._superblock
    start = superblock.block_offset(superblock.log_start)
    return range(start, start + superblock.log_blocks * superblock.block_size)


def sweep(source: ChangedSource, step: int, seed: int, most: int) -> set[str]:
    """Flip bytes in every structure, closer together in headers; `most` of them, chosen at random."""
    chance = random.Random(seed)
    places = [
        (part, min(position + chance.randrange(step), part[1] - 1))
        for part in source.metadata
        for position in (*range(0, min(part[1], 160), step), *range(160, part[1], step * 40))
    ]
    said: set[str] = set()
    for part, at in chance.sample(places, min(most, len(places))):
        change = bytes([source.part(part)[at] ^ chance.choice((1, 0x80, 0xFF))])
        damage.flip(source, part, at, change, sign=chance.random() < 0.9)
        said.update(walk_within_limits(source))
    return said


def test_flipped_bytes_in_any_structure_are_survived(source):
    # Without checksums, most of what is flipped is only another name or time.
    assert len(sweep(source, 8, seed=1, most=120)) > 4


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_flipped_bytes_everywhere_are_survived(source, seed):
    assert len(sweep(source, 2, seed, most=20_000)) > 500


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_bytes_in_any_structure_are_survived(source, data):
    part = data.draw(st.sampled_from(source.metadata))
    at = data.draw(st.integers(0, part[1] - 1) | st.integers(0, min(part[1], 130) - 1))
    numbers = st.sampled_from(
        [b"\xff" * 8, bytes(8), b"\x7f" + b"\xff" * 7, b"\x80" + bytes(7), b"\0\0\0\x01"]
    )
    change = data.draw(numbers | st.binary(min_size=1, max_size=16))[: part[1] - at]
    damage.flip(source, part, at, change, sign=data.draw(st.booleans()))
    walk_within_limits(source)


def test_a_structure_put_where_another_belongs_is_survived(source):
    """Each metadata block in the place of each next one: trees that lead back, wrong owners, wrong kinds."""
    parts = source.metadata
    for part, other in zip(parts, parts[1:] + parts[:1], strict=True):
        source.changes = {part[0]: source.part(other)[: part[1]]}
        walk_within_limits(source)


def test_an_image_that_ends_early_is_read_as_far_as_it_goes(source):
    whole = source.size_bytes
    try:
        for offset in sorted({start + cut for start, length in source.metadata for cut in (0, length // 2)})[
            ::4
        ]:
            source.size_bytes = offset
            said = walk_within_limits(source)
            assert said or any("cut off" in text for text in open_file_system(source).warnings)
    finally:
        source.size_bytes = whole


def test_all_zeros_and_all_ones_and_random_bytes_are_no_xfs(source):
    for content in (b"", b"XFSB", bytes(4096), b"\xff" * 4096, random.Random(1).randbytes(100_000)):
        assert open_file_system(ChangedSource({(0, len(content)): content}, len(content))) is None


def test_a_superblock_alone_is_an_error(source):
    content = source.read_at(0, 512)
    with pytest.raises(ImageError, match="xfs: "):
        open_file_system(ChangedSource({(0, 512): content}, 512))


@pytest.mark.parametrize("image", ["v5"], indirect=True)
def test_every_flipped_byte_under_a_checksum_is_noticed(source):
    """And the message says which structure, and where."""
    chance = random.Random(2)
    log = log_of(source)
    for part in source.metadata:
        kind = source.part(part)[:4]
        if kind == b"XFSB" or part[0] in log or source.part(part)[8:10] in DIRECTORY_INDEXES:
            continue
        at = chance.randrange(part[1])
        damage.flip(source, part, at, bytes([source.part(part)[at] ^ 0x10]), sign=False)
        said = walk_within_limits(source)
        assert any("is damaged" in text and str(part[0]) in text for text in said), (part, at, said)


def test_a_damaged_index_does_not_hide_names(image, source):
    """The directory's own blocks say what is in it; the index is only quicker."""
    files = open_file_system(source)
    directory = files.lookup(files.root_inode, b"node")
    expected = {entry.name: entry.inode for entry in list(files.list(directory))[::40]}
    indexes = [part for part in source.metadata if source.part(part)[8:10] in (b"\x3e\xbe", b"\xfe\xbe")]
    assert indexes
    for part in indexes:
        source.changes[part[0] + 8] = b"\0\0"
    files = open_file_system(source)
    assert {name: files.lookup(directory, name) for name in expected} == expected


def test_a_size_of_two_to_the_63_takes_no_memory(image, source):
    files = open_file_system(source)
    inode = files.lookup(files.root_inode, b"file")
    [part] = [part for part in source.metadata if part[0] == files._superblock.inode_offset(inode)]
    damage.flip(source, part, 56, b"\x7f" + b"\xff" * 7, sign=True)
    files = open_file_system(source)
    tracemalloc.start()
    try:
        assert files.stat(inode).size_bytes == 2**63 - 1
        assert files.read(inode, 2**62, 4096) == bytes(4096)
        assert len(files.read(inode, 2**63 - 10, 4096)) == 9
        assert len(list(files.data_ranges(inode))) == 1
        with pytest.raises(ImageError, match="too many to read at once"):
            files.read(inode, 0, 2**63)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_reading_past_a_truncated_image_names_the_inode(image):
    with FileSource(image) as source:
        files = open_file_system(source)
        inode = files.lookup(files.root_inode, b"file")
        assert files.stat(inode).size_bytes == 8000
        source.read_at = lambda offset, length: b""
        with pytest.raises(ImageError, match=f"contents of inode {inode} at byte"):
            files.read(inode, 0, 100)
