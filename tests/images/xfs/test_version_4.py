"""Version 4, which new kernels no longer mount: filled by mkfs.xfs from a list, and by the debugger."""

from __future__ import annotations

import os
import stat

import pytest

from images.xfs.making import debugger, field, make
from images.xfs.sources import FileSource
from twinfs.images.xfs import open_file_system

KINDS = {
    "old defaults": ("-n", "ftype=0", "-i", "projid32bit=0"),
    "blocks of 512": ("-b", "size=512", "-n", "ftype=1"),
    "large directory blocks": ("-b", "size=1024", "-n", "size=16384", "-l", "version=1"),
    "ignores case": ("-n", "version=ci"),
}
MANY = 4000
CONTENT = os.urandom(3_000_000) + b"end"
LINK = "t" * 1000
ATTRIBUTES = {
    "few": [("-u", "short", 9), ("-r", "of-root", 20), ("-s", "label", 1)],
    "large": [("-u", "big", 65536), ("-r", "smaller", 3000)],
    "node": [("-u", f"number-{number}", 40) for number in range(500)],
}
NAMESPACES = {"-u": b"user.", "-r": b"trusted.", "-s": b"security."}


@pytest.fixture(scope="module", params=list(KINDS))
def image(request, tmp_path_factory):
    base = tmp_path_factory.mktemp("xfs4")
    (base / "content").write_bytes(CONTENT)
    names = "\n".join(f"{name} ---644 1000 100 /dev/null" for name in ATTRIBUTES)
    many = "\n".join(f"Name-{number} p--600 0 0" for number in range(MANY))
    (base / "list").write_text(
        f"/\n0 0\nd--755 0 0\ncontent ---640 70000 5 {base}/content\n"
        f"link l--777 0 0 {LINK}\nshort l--777 0 0 x\n"
        f"device b--660 0 6 8 17\nterminal c--620 1 5 4 300\n{names}\n"
        f"few-names d--711 3 4\nÄrger p--600 0 0\n$\nmany du-755 0 0\n{many}\n$\n$\n"
    )
    options = ("-m", "crc=0", "-p", str(base / "list"), "-L", "version 4")
    image = make(base / "image", (*options, *KINDS[request.param]), size_bytes=64 << 20)
    for name, attributes in ATTRIBUTES.items():
        commands = [f"attr_set {space} -v {size} {key}" for space, key, size in attributes]
        debugger(image, f"path /{name}", *commands, expert=True)
    return image


@pytest.fixture
def files(image):
    with FileSource(image) as source:
        yield open_file_system(source)


def test_every_name_leads_to_what_was_put_there(files):
    found = {entry.name: entry for entry in files.list(files.root_inode)}
    kinds = {name: entry.file_type for name, entry in found.items()}
    assert kinds == {
        **dict.fromkeys((b"content", b"few", b"large", b"node"), stat.S_IFREG),
        **dict.fromkeys((b"link", b"short"), stat.S_IFLNK),
        **dict.fromkeys((b"few-names", b"many"), stat.S_IFDIR),
        b"device": stat.S_IFBLK,
        b"terminal": stat.S_IFCHR,
    }
    seen = {name: files.stat(entry.inode) for name, entry in found.items()}
    assert (seen[b"content"].mode, seen[b"content"].uid, seen[b"content"].gid) == (0o100640, 70_000, 5)
    assert files.read(found[b"content"].inode, 0, len(CONTENT) + 9) == CONTENT
    assert list(files.data_ranges(found[b"content"].inode)) == [(0, len(CONTENT))]
    assert files.readlink(found[b"link"].inode) == LINK.encode()
    assert files.readlink(found[b"short"].inode) == b"x"
    assert (seen[b"device"].device, seen[b"terminal"].device) == (os.makedev(8, 17), os.makedev(4, 300))
    assert (seen[b"many"].mode, seen[b"many"].link_count) == (stat.S_IFDIR | 0o4755, 2)
    assert [entry.name for entry in files.list(found[b"few-names"].inode)] == ["Ärger".encode()]


def test_every_name_of_a_large_directory_is_listed_and_found(files):
    many = files.lookup(files.root_inode, b"many")
    listed = {entry.name: entry for entry in files.list(many)}
    assert listed.keys() == {b"Name-%d" % number for number in range(MANY)}
    assert {entry.file_type for entry in listed.values()} == {stat.S_IFIFO}
    assert all(files.lookup(many, name) == entry.inode for name, entry in listed.items())
    assert files.lookup(many, b"Name-x") is None


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attributes_are_those_the_debugger_set(files, name):
    inode = files.lookup(files.root_inode, name.encode())
    expected = {NAMESPACES[space] + key.encode(): b"v" * size for space, key, size in ATTRIBUTES[name]}
    assert files.xattrs(inode) == expected


def test_times_are_those_the_debugger_prints(image, files):
    inode = files.lookup(files.root_inode, b"content")
    seconds = field(image, "core.mtime.nsec", f"inode {inode}")
    assert files.stat(inode).mtime_ns % 10**9 == int(seconds)
    assert files.stat(inode).birth_ns is None


def test_it_names_itself_and_was_unmounted_cleanly(image, files):
    assert (files.label, files.uuid) == ("version 4", field(image, "uuid"))
    assert files.warnings == ()


@pytest.mark.parametrize("image", ["ignores case"], indirect=True)
def test_where_case_is_ignored_any_case_is_found(files):
    assert files.lookup(files.root_inode, b"CONTENT") == files.lookup(files.root_inode, b"content")
    many = files.lookup(files.root_inode, b"MANY")
    assert files.lookup(many, b"nAME-17") == files.lookup(many, b"Name-17") is not None


@pytest.mark.parametrize("image", ["old defaults"], indirect=True)
def test_elsewhere_case_matters(files):
    assert files.lookup(files.root_inode, b"CONTENT") is None


@pytest.mark.parametrize("image", ["blocks of 512"], indirect=True)
def test_the_large_directory_has_so_many_extents_that_they_are_in_a_tree(image):
    assert field(image, "core.format", "path /many") == "3 (btree)"
