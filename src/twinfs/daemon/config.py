"""A volume's settings on disk: `config_dir/NAME.toml`, strict to read, whole or absent to write."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Final

import msgspec

from twinfs.daemon import telling, toml_text
from twinfs.daemon.durations import (
    format_age,
    format_interval,
    parse_age,
    parse_interval,
    parse_percent,
    parse_time_of_day,
)
from twinfs.daemon.names import check_name, is_name
from twinfs.daemon.paths import Paths
from twinfs.daemon.scrub_at import parse_scrub_at
from twinfs.daemon.timing import Timing
from twinfs.errors import ConfigError, UnknownVolumeError, UsageError
from twinfs.fsio.durable import replace_file
from twinfs.model import Mode, ReadPolicy, Role, VolumeConfig

_UNKNOWN_FIELD: Final = re.compile(r"unknown field `(.+?)`")
_FIELD_PATH: Final = re.compile(r"(.*) - at `\$\.(.+)`", re.DOTALL)


class _File(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The fields as written. A typo must not silently fall back to a default, so nothing else is let in."""

    volume_id: str
    primary: str
    secondary: str
    name: str | None = None
    mode: Mode = Mode.SYNC
    interval: str | int | float = "5s"
    at: str | None = None
    mountpoint: str | None = None
    exclude: tuple[str, ...] = ()
    delete_excluded: bool = False
    degraded_start: bool = False
    scrub_at: str | None = None
    scrub_max_age: str | None = None
    leg_timeout: str | int | float = "20s"
    log_limit: Annotated[int, msgspec.Meta(ge=1)] = 1_000_000
    max_delete: str | None = None
    max_delete_files: Annotated[int, msgspec.Meta(ge=0)] | None = None
    on_event: str | tuple[str, ...] = ()
    mail_to: str | tuple[str, ...] = ()
    metrics_file: str | None = None
    read_policy: ReadPolicy = ReadPolicy.PRIMARY
    secondary_sleeps: bool = False
    keep_versions: str | None = None
    keep_versions_size: str | int = "10%"


def list_names(paths: Paths) -> list[str]:
    """Configured volumes, sorted. A missing directory is an empty one; files of other names are ignored."""
    if not paths.config_dir.is_dir():
        return []
    stems = (entry.stem for entry in paths.config_dir.glob("*.toml"))
    return sorted(stem for stem in stems if is_name(stem))


def load(paths: Paths, name: str) -> VolumeConfig:
    """Read one volume's settings. Raises UnknownVolumeError, ConfigError (naming file and field)."""
    path = paths.config_file(check_name(name))
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise _unknown(paths, name) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    return _parse(path, name, text)


def save_new(paths: Paths, config: VolumeConfig) -> Path:
    """Write a new volume's settings; never over existing ones. Returns the file's path."""
    path = paths.config_file(check_name(config.name))
    if path.exists():
        raise UsageError(f"{path} exists: volume {config.name} is configured already")
    _write(path, toml_text.document(_to_values(config)))
    return path


def require_representable(config: VolumeConfig) -> None:
    """Raises ConfigError if a setting cannot be written as TOML (a path that is no UTF-8)."""
    toml_text.document(_to_values(config))


def change_mode(paths: Paths, name: str, timing: Timing) -> str:
    """Rewrite mode, interval and at, keeping the file's comments. Returns the text it had before.

    What is given replaces what was there; an interval and a time of day replace each other,
    because in batched mode only one of them can be the clock.
    """
    load(paths, name)
    path = paths.config_file(name)
    before = path.read_text(encoding="utf-8")
    changes: dict[str, toml_text.TomlValue | None] = {"mode": timing.mode.value}
    if timing.interval_seconds is not None:
        changes |= {"interval": format_interval(timing.interval_seconds), "at": None}
    if timing.at is not None:
        changes["at"] = timing.at
    after = toml_text.edit(before, changes)
    _parse(path, name, after)
    _write(path, after)
    return before


def change_place(paths: Paths, name: str, place: Role, path: str) -> None:
    """Rewrite where a leg is, keeping the file's comments."""
    load(paths, name)
    file = paths.config_file(name)
    after = toml_text.edit(file.read_text(encoding="utf-8"), {place.value: path})
    _parse(file, name, after)
    _write(file, after)


def restore(paths: Paths, name: str, text: str) -> None:
    """Put back what `change_mode` returned, when the running daemon refused the change."""
    _write(paths.config_file(name), text)


def require_writable(paths: Paths) -> None:
    """Fail before anything else is changed if settings could not be written afterwards."""
    try:
        paths.config_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{paths.config_dir}: cannot be created: {error.strerror}") from None
    if not os.access(paths.config_dir, os.W_OK | os.X_OK):
        raise ConfigError(f"{paths.config_dir}: cannot be written; run as its owner or give --config-dir")


def _parse(path: Path, name: str, text: str) -> VolumeConfig:
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    try:
        read = msgspec.convert(raw, _File)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_explain(str(error))}") from None
    try:
        return _to_config(name, read)
    except UsageError as error:
        raise ConfigError(f"{path}: {error}") from None


def _explain(message: str) -> str:
    """msgspec's message with the field first, and for an unknown field the nearest known one."""
    unknown = _UNKNOWN_FIELD.search(message)
    if unknown is not None:
        near = difflib.get_close_matches(unknown[1], _File.__struct_fields__, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(_File.__struct_fields__)}"
        return f"unknown field {unknown[1]!r}{hint}"
    located = _FIELD_PATH.fullmatch(message)
    if located is None:
        return message[0].lower() + message[1:]
    choices = {"mode": Mode, "read_policy": ReadPolicy}.get(located[2])
    expected = f" (one of: {', '.join(choices)})" if choices else ""
    return f"field {located[2]!r}: {located[1][0].lower()}{located[1][1:]}{expected}"


def _to_config(name: str, read: _File) -> VolumeConfig:
    if read.name not in (None, name):
        raise UsageError(f"field 'name' says {read.name!r}, the file's own name {name!r}; make them equal")
    for field in ("primary", "secondary", "mountpoint", "metrics_file"):
        value = getattr(read, field)
        if value is not None and not os.path.isabs(value):
            raise UsageError(f"field {field!r}: {value!r} is not an absolute path")
    for place in (read.primary, read.secondary, read.mountpoint):
        telling.require_outside(read.metrics_file, place)
    return VolumeConfig(
        name=name,
        volume_id=read.volume_id,
        primary=read.primary,
        secondary=read.secondary,
        mode=read.mode,
        interval_seconds=parse_interval(read.interval),
        at=None if read.at is None else parse_time_of_day(read.at),
        mountpoint=read.mountpoint,
        exclude=read.exclude,
        delete_excluded=read.delete_excluded,
        degraded_start=read.degraded_start,
        scrub_at=None if read.scrub_at is None else parse_scrub_at(read.scrub_at),
        scrub_max_age_seconds=None if read.scrub_max_age is None else parse_age(read.scrub_max_age),
        leg_timeout_seconds=parse_interval(read.leg_timeout, "leg_timeout"),
        log_limit=read.log_limit,
        max_delete_percent=None if read.max_delete is None else parse_percent(read.max_delete),
        max_delete_files=read.max_delete_files,
        on_event=telling.parse_command(read.on_event),
        mail_to=telling.parse_addresses(read.mail_to),
        metrics_file=read.metrics_file,
        read_policy=read.read_policy,
        secondary_sleeps=read.secondary_sleeps,
        keep_versions_seconds=None if read.keep_versions is None else parse_age(read.keep_versions),
        keep_versions_size=_parse_size(read.keep_versions_size),
    )


def _parse_size(value: str | int) -> str:
    from twinfs.mirror.versions.window import size_in

    try:
        size_in(str(value), 1)
    except ValueError as error:
        raise UsageError(f"field 'keep_versions_size': {error}") from None
    return str(value)


def _to_values(config: VolumeConfig) -> dict[str, toml_text.TomlValue]:
    """What is written for a new volume: what was chosen, without the optional fields left alone."""
    values: dict[str, toml_text.TomlValue | None] = {
        "name": config.name,
        "volume_id": config.volume_id,
        "primary": config.primary,
        "secondary": config.secondary,
        "mode": config.mode.value,
        "interval": format_interval(config.interval_seconds),
        "at": config.at,
        "mountpoint": config.mountpoint,
        "exclude": config.exclude or None,
        "delete_excluded": config.delete_excluded or None,
        "degraded_start": config.degraded_start or None,
        "scrub_at": config.scrub_at,
        "scrub_max_age": None
        if config.scrub_max_age_seconds is None
        else format_age(config.scrub_max_age_seconds),
        "on_event": config.on_event or None,
        "mail_to": config.mail_to or None,
        "metrics_file": config.metrics_file,
        "read_policy": None if config.read_policy is ReadPolicy.PRIMARY else config.read_policy.value,
        "secondary_sleeps": config.secondary_sleeps or None,
        "keep_versions": None
        if config.keep_versions_seconds is None
        else format_age(config.keep_versions_seconds),
        "keep_versions_size": None if config.keep_versions_seconds is None else config.keep_versions_size,
    }
    return {key: value for key, value in values.items() if value is not None}


def _unknown(paths: Paths, name: str) -> UnknownVolumeError:
    names = list_names(paths)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        hint = f"did you mean {near[0]}?"
    elif names:
        hint = f"configured: {', '.join(names)}"
    else:
        hint = "none is: begin with twinfs init PRIMARY SECONDARY --name NAME"
    return UnknownVolumeError(f"no volume {name} is configured in {paths.config_dir}; {hint}")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            replace_file(directory, os.fsencode(path.name), text.encode(), mode=0o644)
        finally:
            os.close(directory)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
