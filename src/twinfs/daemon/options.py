"""What follows `-o`: some is for twinfs, some for the kernel, some for mount(8) and systemd alone."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from twinfs.errors import UsageError

_TO_KERNEL = ("exec", "noexec", "suid", "nosuid", "dev", "nodev", "atime", "noatime", "relatime")
_FOR_OTHERS = ("defaults", "rw", "auto", "noauto", "nofail", "_netdev", "nouser", "async")
_BY_USERS = ("user", "users", "owner", "group")
_IGNORED_PREFIXES = ("x-", "X-", "comment=", "user=", "uhelper=", "helper=")
_OURS = ("secondary", "degraded", "config_dir", "state_dir", "allow_other", "noallow_other")
_KNOWN = (*_TO_KERNEL, *_FOR_OTHERS, *_BY_USERS, *_OURS)

_ITEM = re.compile(r'((?:"[^"]*"|[^,"])+)')


@dataclass(frozen=True, slots=True)
class MountOptions:
    """`allow_other` None: the default of whoever mounts. `flags` are for the kernel."""

    allow_other: bool | None = None
    is_degraded_ok: bool = False
    secondary: str | None = None
    config_dir: str | None = None
    state_dir: str | None = None
    flags: tuple[str, ...] = ()


def parse_options(texts: Iterable[str]) -> MountOptions:
    """Read comma-separated mount options; a value with a comma stands in double quotes, as for mount(8).

    Raises UsageError for what twinfs cannot do and for what nobody knows: an option that is
    silently dropped is one that somebody relies on.
    """
    flags: dict[str, str] = {}
    values: dict[str, str] = {}
    allow_other: bool | None = None
    is_degraded_ok = False
    for option in (item for text in texts for item in _ITEM.findall(text)):
        key, _, value = option.partition("=")
        match key:
            case "secondary" | "config_dir" | "state_dir":
                values[key] = _value(key, value)
            case "allow_other" | "noallow_other":
                allow_other = key == "allow_other"
            case "degraded":
                is_degraded_ok = True
            case _ if option in _BY_USERS:
                # mount(8): these imply no devices and no set-user-ID unless said otherwise afterwards.
                implied = ("nosuid", "nodev", "noexec") if key.startswith("user") else ("nosuid", "nodev")
                flags |= {flag.removeprefix("no"): flag for flag in implied}
            case _ if key in _TO_KERNEL:
                flags[_pair(key)] = key
            case _:
                _require_ignorable(option)
    return MountOptions(allow_other, is_degraded_ok, flags=tuple(flags.values()), **values)


def kernel_flags(options: MountOptions, *, is_root: bool) -> tuple[str, ...]:
    """The flags to mount with. For root, devices and set-user-ID work as on any other mount.

    libfuse turns them off unless told; a volume over the primary's own path would then behave
    otherwise than the directory it covers. The kernel refuses them to others.
    """
    if not is_root:
        return options.flags
    chosen = {_pair(flag) for flag in options.flags}
    return (*(flag for flag in ("suid", "dev") if flag not in chosen), *options.flags)


def _pair(flag: str) -> str:
    """What a flag and its opposite have in common: the later of the two wins."""
    if flag in ("atime", "noatime", "relatime"):
        return "atime"
    return flag.removeprefix("no")


def _value(key: str, value: str) -> str:
    stripped = value.strip('"')
    if not stripped.startswith("/"):
        raise UsageError(f"mount option {key}: give an absolute path, {key}=/some/directory")
    return stripped


def _require_ignorable(option: str) -> None:
    if option in _FOR_OTHERS or option.startswith(_IGNORED_PREFIXES):
        return
    if option == "ro":
        raise UsageError("mount option ro: a volume cannot be mounted read-only; leave the option out")
    if option == "remount":
        raise UsageError("mount option remount: not supported; unmount and mount again")
    if option == "sync":
        raise UsageError("mount option sync: say it with: twinfs mode NAME sync")
    near = difflib.get_close_matches(option.partition("=")[0], _KNOWN, n=1)
    raise UsageError(f"unknown mount option {option!r}" + (f"; did you mean {near[0]}?" if near else ""))
