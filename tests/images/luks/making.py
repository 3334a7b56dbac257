"""LUKS volumes with content, made by cryptsetup and qemu-img; neither needs device-mapper for it."""

from __future__ import annotations

import shutil
from pathlib import Path

from images.fuzzing import PASSPHRASE
from support.images import blank, encrypt_with_qemu, tool

_HEADER_BYTES = 2 << 20
_QUICK = ("--pbkdf-force-iterations", "1000")


class Maker:
    """Beside `plain`, a raw disk, that disk encrypted in many ways."""

    def __init__(self, directory: Path, plain: Path) -> None:
        self.plain = plain
        self.passphrase_file = directory / "passphrase"
        self.passphrase_file.write_bytes(PASSPHRASE)
        self._directory = directory
        self._words = ("--object", f"secret,id=secret,file={self.passphrase_file}")

    def _cryptsetup(self, command: str, *words: str | Path) -> str:
        return tool("cryptsetup", command, "--batch-mode", "--key-file", self.passphrase_file, *words)

    def by_qemu(self, name: str, *options: str) -> Path:
        path = self._directory / name
        chosen = ",".join(("key-secret=secret", "iter-time=10", *options))
        encrypt_with_qemu(
            *("convert", *self._words, "-f", "raw", "-O", "luks"), *("-o", chosen, self.plain, path)
        )
        return path

    def version_1(self, name: str, *options: str) -> Path:
        """Formatted by cryptsetup, filled by qemu-img."""
        path = blank(self._directory / name, self.plain.stat().st_size + _HEADER_BYTES)
        self._cryptsetup("luksFormat", "--type", "luks1", *_QUICK, *options, path)
        target = f"driver=luks,key-secret=secret,file.driver=file,file.filename={path}"
        tool(
            *("qemu-img", "convert", *self._words, "-n", "-f", "raw"),
            *("--target-image-opts", self.plain, target),
        )
        return path

    def version_2(self, name: str) -> Path:
        path = self.version_1(name)
        tool("cryptsetup", "convert", "--batch-mode", "--type", "luks2", path)
        return path

    def argon2(self, name: str, kind: str) -> Path:
        path = self.version_2(name)
        words = ("--pbkdf-memory", "1024", "--pbkdf-force-iterations", "4", "--pbkdf-parallel", "2")
        self._cryptsetup("luksConvertKey", "--pbkdf", kind, *words, path)
        return path

    def large_sectors(self, name: str) -> Path:
        path = self.version_2(name)
        words = ("--force-offline-reencrypt", "--resilience", "none", "--sector-size", "4096")
        self._cryptsetup("reencrypt", *words, "--pbkdf", "pbkdf2", *_QUICK, path)
        return path

    def second_slot(self, name: str, first: bytes) -> Path:
        """Opened by another passphrase first, and by PASSPHRASE second."""
        path = self.version_2(name)
        file = self._directory / "first"
        file.write_bytes(first)
        self._cryptsetup("luksAddKey", "--pbkdf", "pbkdf2", *_QUICK, path, file)
        self._cryptsetup("luksAddKey", "--pbkdf", "pbkdf2", *_QUICK, path, self.passphrase_file)
        self._cryptsetup("luksKillSlot", path, "0")
        return path

    def copy(self, path: Path, name: str) -> Path:
        return Path(shutil.copyfile(path, self._directory / name))
