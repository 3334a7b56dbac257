"""Objects that are in the mounted tree alone: numbers, and a text that is replaced as it changes."""

from __future__ import annotations

import errno
import stat

import pytest

from twinfs.fuse.routing import is_virtual
from twinfs.fuse.virtual.objects import FIRST_VIRTUAL, NamedDirectory, Snapshots, TextFile, VirtualTable
from twinfs.mirror.nodes import ROOT_ID


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("number", "answer"),
    [
        (ROOT_ID, False),
        ((1 << 62) | 5, False),  # an object of a file system inside the leg
        ((1 << 63) | 7, False),  # a handle of a privileged caller
        (FIRST_VIRTUAL - 1, False),
        (FIRST_VIRTUAL, True),
        ((1 << 63) | FIRST_VIRTUAL, True),
    ],
)
def test_numbers_tell_the_two_sides_apart(number, answer):
    assert is_virtual(number) is answer


def test_a_number_is_kept_while_the_kernel_knows_it_and_never_used_again():
    table = VirtualTable()
    one, other = TextFile(b"1"), TextFile(b"2")
    number = table.looked_up(one, ROOT_ID)
    assert table.looked_up(one, ROOT_ID) == number
    assert table.looked_up(other, ROOT_ID) != number
    table.forget(number, 1)
    assert table[number] is one
    table.forget(number, 1)
    with pytest.raises(OSError) as caught:
        table[number]
    assert caught.value.errno == errno.ESTALE
    assert table.looked_up(one, ROOT_ID) != number
    assert len(table) == 2


def test_forgetting_what_is_not_known_does_nothing():
    table = VirtualTable()
    table.forget(FIRST_VIRTUAL, 3)
    assert len(table) == 0


def test_an_object_of_another_kind_is_refused_as_the_kernel_would():
    table = VirtualTable()
    directory = table.looked_up(NamedDirectory({}), ROOT_ID)
    file = table.looked_up(TextFile(b""), directory)
    assert table.parent_of(file) == directory
    for call, number, code in ((table.directory, file, errno.ENOTDIR), (table.file, directory, errno.EINVAL)):
        with pytest.raises(OSError) as caught:
            call(number)
        assert caught.value.errno == code


async def test_a_directory_finds_its_names_and_no_others():
    file = TextFile(b"x")

    async def found():
        return file

    directory = NamedDirectory({b"status": found})
    assert await directory.find(b"status") is file
    assert await directory.find(b"label.json") is None
    assert await directory.entries() == [(b"status", file)]
    assert directory.facts().mode == stat.S_IFDIR | 0o555


async def test_a_text_is_read_in_pieces():
    file = TextFile(b"0123456789")
    assert file.facts().size_bytes == 10
    assert [await file.read(0, 4), await file.read(8, 100), await file.read(50, 1)] == [b"0123", b"89", b""]


async def test_a_changed_text_is_another_file_and_an_equal_one_is_the_same():
    clock, texts = Clock(), iter((b"one", b"one", b"two"))

    async def text():
        return next(texts)

    snapshots = Snapshots(text, clock)
    first = await snapshots()
    assert await snapshots() is first  # within a second it is not even asked for
    clock.now = 1.0
    assert await snapshots() is first
    clock.now = 2.0
    second = await snapshots()
    assert (first.content, second.content) == (b"one", b"two")


async def test_a_text_that_cannot_be_had_is_asked_for_again():
    clock, answers = Clock(), iter((OSError(5, "Input/output error"), b"back"))

    async def text():
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    snapshots = Snapshots(text, clock)
    with pytest.raises(OSError, match="Input/output"):
        await snapshots()
    assert (await snapshots()).content == b"back"
