"""`twinfs image mount`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from twinfs.cli.image_parameters import ImagePath, MapFile, PassphraseFile, passphrase_in
from twinfs.cli.parameters import InjectedPaths
from twinfs.cli.talk import say
from twinfs.daemon.image_mounting import mount_image


def mount(
    image: ImagePath,
    mountpoint: Annotated[str, Parameter(help="An existing directory.")],
    /,
    *,
    map_file: MapFile = None,
    passphrase_file: PassphraseFile = None,
    overlay: Annotated[
        str | None, Parameter(help="A directory that changes go to: the mount can be written to.")
    ] = None,
    foreground: Annotated[
        bool, Parameter(name=["--foreground", "-f"], help="Stay, log to the terminal.")
    ] = False,
    paths: InjectedPaths,
) -> int:
    """Mount an image as a directory, without root.

    Read-only, unless with --overlay. Partition N is /pN/, beside it /pN.img; /disk.img is the
    whole disk. Set-id bits and device nodes are shown and without effect.
    As root every user may look, as the permissions in the image allow;
    otherwise you alone, and you may read all of it. An image that is
    rewritten meanwhile is opened anew.

    The image of a virtual machine that runs is refused; qmp:NAME shows its
    disk as it is now, while the guest goes on. NAME is of `twinfs-qemu list`,
    or the path of a monitor's socket; qmp:NAME/DRIVE is another of its disks.

    Of a disk that was partly read, ddrescue's map says which parts: with --map
    reading any other is an error, where the image has zeros.

    With --overlay the mount can be written to. Changes go to that directory,
    made if it is not there, and are there again at the next mount; the image
    itself is never written. twinfs image changes lists them; twinfs image
    extract --overlay copies out the image with its changes.

    To end it: fusermount3 -u, umount, or twinfs umount MOUNTPOINT.

    For example:

        twinfs image mount disk.qcow2 /tmp/disk
        twinfs image mount qmp:box /tmp/box
        ls /tmp/disk/p1
        twinfs umount /tmp/disk
        twinfs image mount --overlay changes disk.qcow2 /tmp/disk
    """
    mount_image(
        paths,
        image,
        mountpoint,
        map_path=map_file,
        passphrase=passphrase_in(passphrase_file),
        overlay=overlay,
        is_foreground=foreground,
        on_ready=lambda place: say(f"{image} is mounted at {place}"),
    )
    return 0
