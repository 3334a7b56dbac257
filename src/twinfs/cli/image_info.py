"""`twinfs image info`."""

from __future__ import annotations

from twinfs.cli.image_parameters import ImagePath, PassphraseFile
from twinfs.cli.image_reader import tree_of
from twinfs.cli.parameters import InjectedPaths, Json
from twinfs.cli.talk import result
from twinfs.report import image_json, image_text, json_lines


def info(
    image: ImagePath, /, *, passphrase_file: PassphraseFile = None, json: Json = False, paths: InjectedPaths
) -> int:
    """Tell what an image holds: its partitions and their file systems.

    Knows raw and split images, qcow2, VMDK, VDI, VHD, VHDX, E01, and any of
    these compressed with gzip, xz or zstd; MBR, GPT, Apple and BSD
    partition tables; LUKS with its passphrase. A partition that makes no sense is shown with the
    reason.

    For example:

        twinfs image info disk.img
        twinfs image info backup.qcow2 --json
    """
    with tree_of(paths, image, passphrase_file=passphrase_file) as tree:
        found = tree.info()
    result(json_lines.line(image_json.info_dict(found)) if json else image_text.info_text(found))
    return 0
