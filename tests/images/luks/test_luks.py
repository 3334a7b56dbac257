"""Encrypted volumes: every byte as it was before, and why one stays closed."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from images.luks.making import PASSPHRASE, Maker
from support.compare import Keeps, assert_same, found_in
from support.images import MIB, blank, sfdisk, tool, write_at
from support.machine import needs_root
from support.odd_tree import SECOND, Wants, build, manifest
from support.volume import twinfs_command
from twinfs.errors import ImageError
from twinfs.images.luks import Derivation, derive
from twinfs.images.paths import resolve
from twinfs.images.worker.client import ReaderClient
from twinfs.images.worker.remote import RemoteTree

pytestmark = needs_root  # for owners and nodes in the image
WANTS = Wants(
    entries=40, depth=5, has_large_sparse=False, long_xattr_bytes=300, times=(1_600_000_000 * SECOND,) * 3
)
KEEPS = Keeps(times_ns=SECOND)


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("tree") / "tree"
    build(path, WANTS)
    return path


@pytest.fixture(scope="module")
def maker(tmp_path_factory, tree) -> Maker:
    directory = tmp_path_factory.mktemp("luks")
    plain = blank(directory / "plain", 20 * MIB)
    tool("mkfs.ext4", "-q", "-F", "-d", tree, plain)
    return Maker(directory, plain)


@pytest.fixture(scope="module")
def version_2(maker) -> Path:
    return maker.version_2("version_2")


WAYS = {
    "version 1 by qemu": lambda maker: maker.by_qemu("qemu"),
    "version 1 by qemu, CBC with ESSIV": lambda maker: maker.by_qemu(
        "essiv", "cipher-alg=aes-256", "cipher-mode=cbc", "ivgen-alg=essiv", "ivgen-hash-alg=sha256"
    ),
    "version 1 by qemu, CBC with plain, SHA-1": lambda maker: maker.by_qemu(
        "plain_cbc", "cipher-alg=aes-128", "cipher-mode=cbc", "ivgen-alg=plain", "hash-alg=sha1"
    ),
    "version 1 by cryptsetup": lambda maker: maker.version_1("version_1"),
    "version 1, AES-128, SHA-512": lambda maker: maker.version_1(
        "short", "--key-size", "256", "--hash", "sha512"
    ),
    "version 2, PBKDF2": lambda maker: maker.version_2("pbkdf2"),
    "version 2, argon2id": lambda maker: maker.argon2("argon2id", "argon2id"),
    "version 2, argon2i": lambda maker: maker.argon2("argon2i", "argon2i"),
    "version 2, sectors of 4096 bytes": lambda maker: maker.large_sectors("sectors"),
    "the second key slot": lambda maker: maker.second_slot("second", b"another passphrase"),
}


@pytest.mark.parametrize("way", WAYS)
def test_everything_within_is_as_it_was_before_it_was_encrypted(maker, tree, way):
    path = WAYS[way](maker)
    with ReaderClient(str(path), passphrase=PASSPHRASE) as reader:
        ours = RemoteTree(reader)
        assert ours.info().partitions[0].filesystem == "ext4"
        # Else whoever mounts it would read it from the image file, past the decryption.
        large = resolve(ours, b"/p0/large")
        assert reader.call("extents", large) is None
        top = ours.lookup(ours.root_inode, b"p0")
        found = found_in(ours, top, KEEPS)
    assert_same(found, manifest(tree), KEEPS, extra=(b"lost+found",))


def disk_of(path: Path, *parts: Path) -> Path:
    """A partition for each, of as many bytes as it has."""
    sizes = [part.stat().st_size for part in parts]
    lines = "".join(f"size={size // 512}\n" for size in sizes)
    sfdisk(blank(path, sum(sizes) + 8 * MIB), f"label: gpt\n{lines}")
    starts = [
        each["start"] for each in json.loads(tool("sfdisk", "--json", path))["partitiontable"]["partitions"]
    ]
    for start, part in zip(starts, parts, strict=True):
        write_at(path, start * 512, part.read_bytes())
    return path


def image(*words: str | Path, code: int = 0, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [*twinfs_command(), "image", *map(str, words)], capture_output=True, check=False, input=stdin
    )
    assert done.returncode == code, done.stderr.decode()
    return done


def test_a_partition_is_there_under_its_number_and_its_img_stays_encrypted(tmp_path, maker, version_2):
    disk = disk_of(tmp_path / "disk", maker.plain, version_2)
    words = ("--passphrase-file", maker.passphrase_file)
    assert image("cat", disk, "/p2/small", *words).stdout == b"small content\n"
    assert image("cat", disk, "/p1/small", *words).stdout == b"small content\n"
    assert image("cat", disk, "/p2.img", *words).stdout == version_2.read_bytes()
    image("extract", disk, "/p2/dir", tmp_path / "out", *words)
    assert (tmp_path / "out" / "second_name").read_bytes() == b"small content\n"


def test_the_passphrase_may_come_from_standard_input_and_end_with_a_newline(version_2):
    done = image("cat", version_2, "/p0/small", "--passphrase-file", "-", stdin=PASSPHRASE + b"\n")
    assert done.stdout == b"small content\n"


def test_without_a_passphrase_it_is_shown_as_encrypted(version_2):
    (part,) = json.loads(image("info", version_2, "--json").stdout)["partitions"]
    assert (part["filesystem"], part["warnings"]) == (
        "crypto_LUKS",
        ["encrypted: --passphrase-file opens it"],
    )
    assert image("ls", version_2).stdout == b"disk.img\n"


def test_a_wrong_passphrase_is_an_error_that_says_so(tmp_path, version_2):
    (tmp_path / "wrong").write_bytes(b"open simsalabim")
    done = image("ls", version_2, "--passphrase-file", tmp_path / "wrong", code=1)
    assert b"the passphrase opens none of its key slots" in done.stderr


def test_a_passphrase_for_an_image_with_nothing_encrypted_is_an_error(maker):
    done = image("ls", maker.plain, "--passphrase-file", maker.passphrase_file, code=1)
    assert b"nothing in it is encrypted with LUKS" in done.stderr


def test_of_two_volumes_with_two_passphrases_one_is_opened_and_the_other_named(tmp_path, maker, version_2):
    (tmp_path / "other").write_bytes(b"other")
    other = maker.copy(version_2, "of_another")
    tool("cryptsetup", "luksChangeKey", "-q", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000",
         "--key-file", maker.passphrase_file, other, tmp_path / "other")  # fmt: skip
    disk = disk_of(tmp_path / "disk", other, version_2)
    words = ("--passphrase-file", maker.passphrase_file)
    assert image("cat", disk, "/p2/small", *words).stdout == b"small content\n"
    first, _ = json.loads(image("info", disk, "--json", *words).stdout)["partitions"]
    assert (first["filesystem"], first["problem"]) == (
        "crypto_LUKS",
        "LUKS: the passphrase opens none of its key slots",
    )


def test_a_damaged_first_header_of_version_2_is_replaced_by_the_second(tmp_path, maker, version_2):
    path = maker.copy(version_2, "first_header")
    write_at(path, 4096, b"{ broken")
    with ReaderClient(str(path), passphrase=PASSPHRASE) as reader:
        assert RemoteTree(reader).info().partitions[0].filesystem == "ext4"


def test_both_headers_damaged_is_an_error(maker, version_2):
    path = maker.copy(version_2, "both_headers")
    write_at(path, 4096, b"{ broken")
    write_at(path, 0x4000 + 4096, b"{ broken")
    with pytest.raises(ImageError, match="both headers are damaged"):
        ReaderClient(str(path), passphrase=PASSPHRASE)


def test_a_header_cut_off_is_an_error(maker):
    path = maker.copy(maker.by_qemu("whole"), "cut")
    os.truncate(path, 100_000)
    with pytest.raises(ImageError, match=re.escape("key slot 0 lies behind the end")):
        ReaderClient(str(path), passphrase=PASSPHRASE)


@pytest.mark.parametrize(
    "wanted",
    [
        Derivation("pbkdf2", b"salt", 32, "sha256", 1 << 32),
        Derivation("pbkdf2", b"salt", 32, "sha256", 0),
        Derivation("pbkdf2", b"salt", 32, "md5", 1000),
        Derivation("pbkdf2", b"salt", 1 << 30, "sha256", 1000),
        Derivation("argon2id", b"salt" * 4, 32, "", 4, 4 << 20, 4),
        Derivation("argon2id", b"salt" * 4, 32, "", 1 << 31, 1 << 10, 4),
        Derivation("argon2id", b"salt" * 4, 32, "", 4, 1 << 10, 1 << 20),
        Derivation("argon2id", b"", 32, "", 4, 1 << 10, 4),
        Derivation("scrypt", b"salt", 32),
    ],
)
def test_a_derivation_that_would_take_too_much_is_refused(wanted):
    with pytest.raises(ImageError, match="LUKS"):
        derive(b"passphrase", wanted)
