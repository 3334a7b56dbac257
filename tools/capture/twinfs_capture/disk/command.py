"""`twinfs-capture disk`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from twinfs.cli.talk import result, say
from twinfs.errors import UsageError
from twinfs.report import human
from twinfs_capture.disk import hashes, qcow2, report
from twinfs_capture.disk.browse import where_to_browse
from twinfs_capture.disk.job import Job
from twinfs_capture.disk.settings import Format, Outcome, Settings
from twinfs_capture.errors import CaptureError, Interrupted, RefusedError
from twinfs_capture.parameters import Json, Seconds
from twinfs_capture.progress import Display
from twinfs_capture.stop import Stop


def disk(
    source: Annotated[Path, Parameter(help="A device, partition or file.")],
    dest: Annotated[Path, Parameter(help="The image to write.")],
    /,
    *,
    map_file: Annotated[
        Path | None, Parameter(name="--map", help="ddrescue's map file (DEST.map, if not given).")
    ] = None,
    resume: Annotated[
        bool, Parameter(help="Go on with what the map says; begins where there is nothing yet.", negative=())
    ] = False,
    hash_names: Annotated[
        str | None,
        Parameter(
            name="--hash", help="blake3, sha256, sha512, sha1, md5, blake2b: one or several, with commas."
        ),
    ] = None,
    retries: Annotated[int, Parameter(help="How often bad sectors are tried again (1).")] = 1,
    sparse: Annotated[bool, Parameter(help="Let zeros be holes in the image (yes).")] = True,
    image_format: Annotated[Format, Parameter(name="--format", help="raw or qcow2 (raw).")] = Format.RAW,
    verify: Annotated[
        bool, Parameter(help="Read both once more at the end, and compare.", negative=())
    ] = False,
    force: Annotated[
        bool, Parameter(help="Overwrite DEST; write onto a device, or onto SOURCE's disk.", negative=())
    ] = False,
    live: Annotated[bool, Parameter(help="Capture a source although it is mounted.", negative=())] = False,
    direct: Annotated[
        bool | None, Parameter(help="Read past the page cache (yes for devices, no for files).")
    ] = None,
    sector_size: Annotated[
        int | None, Parameter(help="What is given up at once, in bytes (the device's sector; files: 512).")
    ] = None,
    wait: Annotated[bool, Parameter(help="Wait for room where DEST's disk is full (yes).")] = True,
    map_interval: Annotated[Seconds, Parameter(help="Seconds between two saves of the map (5).")] = 5.0,
    json: Json = False,
) -> int:
    """Copy a disk, partition or file into an image, past bad sectors.

    Large reads first; where they fail, the bad areas are trimmed, split down
    to single sectors and tried again, as GNU ddrescue does, in its map file's
    format. What could not be read is zeros in the image, is listed in the end,
    and ends it with 1.

    For example:

        twinfs-capture disk /dev/sdb usb_key.img --hash blake3
        twinfs-capture disk /dev/sdb usb_key.img --resume --retries 3
    """
    if retries < 0:
        raise UsageError(f"--retries {retries}: cannot be negative")
    settings = Settings(
        source=source,
        dest=dest,
        image=dest if image_format is Format.RAW else dest.with_name(dest.name + ".raw"),
        map=map_file or dest.with_name(dest.name + ".map"),
        format=image_format,
        is_resumed=resume,
        retries=retries,
        hashes=hashes.parse_names(hash_names),
        is_sparse=sparse,
        is_direct=direct,
        sector_bytes=sector_size,
        is_verified=verify,
        is_forced=force,
        is_live=live,
        may_wait=wait,
        map_interval_seconds=map_interval,
    )
    return capture(settings, wants_json=json)


def capture(settings: Settings, *, wants_json: bool) -> int:
    """Run it with signals and a progress display, and print what came of it; the exit code."""
    _check(settings)
    stop = Stop()
    job = Job(settings, stop)
    with stop.on_signals():
        try:
            with Display(job.progress):
                outcome = job.run()
            if settings.format is Format.QCOW2:
                _to_qcow2(settings, outcome, stop)
            _write_check_files(settings, outcome, stop)
        except Interrupted as error:
            raise Interrupted(
                f"interrupted; what was read is in {settings.image}, and {settings.map} says what\n"
                "  go on with the same command and --resume"
            ) from error
        except OSError as error:
            raise CaptureError(f"{error.filename or settings.dest}: {error.strerror}") from error
    lines = report.json_records if wants_json else report.text_lines
    for line in lines(settings, outcome):
        result(line)
    _last_words(settings, outcome)
    return 0 if outcome.is_whole else 1


def _check(settings: Settings) -> None:
    """What is known to go wrong before anything is opened."""
    if settings.map in (settings.dest, settings.image, settings.source):
        raise UsageError(f"--map {settings.map}: must be a file of its own")
    if settings.dest.is_block_device() and settings.map.parent == settings.dest.parent:
        raise UsageError(f"DEST {settings.dest} is a device; say with --map in which file the map is kept")
    for name in settings.hashes:
        hashes.StreamHash(name)
    if settings.format is Format.QCOW2:
        _check_qcow2(settings)


def _check_qcow2(settings: Settings) -> None:
    qcow2.qemu_img()
    if settings.dest.is_block_device():
        raise UsageError("--format qcow2: DEST must be a file")
    if not settings.dest.exists() or settings.is_forced:
        return
    if not settings.is_resumed:
        raise RefusedError(f"{settings.dest} exists already\n  overwrite it: --force; or name another DEST")
    if not settings.image.exists():
        raise RefusedError(
            f"{settings.dest} is finished: nothing is left to go on with\n"
            "  read it all again with --force; or name another DEST"
        )


def _to_qcow2(settings: Settings, outcome: Outcome, stop: Stop) -> None:
    """The raw work file stays while something is unread: it can only be gone on with there."""
    qcow2.convert(settings.image, settings.dest, stop)
    if outcome.is_whole:
        settings.image.unlink()
        # The map speaks of the raw image's bytes, which are the same in the qcow2; it stays.
    else:
        say(f"{settings.image} stays beside it, for --resume")


def _write_check_files(settings: Settings, outcome: Outcome, stop: Stop) -> None:
    digests = outcome.digests
    if settings.format is Format.QCOW2 and settings.hashes:
        digests = hashes.of_file(settings.dest, settings.hashes, stop)
    for name, digest in digests.items():
        if settings.dest.is_file():
            outcome.check_files.append(hashes.write_check_file(settings.dest, name, digest))


def _last_words(settings: Settings, outcome: Outcome) -> None:
    if outcome.grown_to_bytes is not None:
        more = human.size(outcome.grown_to_bytes - outcome.size_bytes)
        say(
            f"{settings.source} has grown by {more} since it began; the image has the size of then."
            " --resume reads what is new"
        )
    where = where_to_browse(settings.dest)
    if where is not None:
        say(f"browse it: {where}")
    if outcome.unread:
        say("try the bad areas again with: --resume --retries 3")
        say(f"which files they touch: twinfs image affected --map {settings.map} {settings.dest}")
