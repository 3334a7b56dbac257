"""What follows -o."""

from __future__ import annotations

import pytest

from twinfs.daemon.options import MountOptions, kernel_flags, parse_options
from twinfs.errors import UsageError


def test_a_line_as_from_fstab_is_understood():
    text = "rw,secondary=/mnt/hd1_mirror,allow_other,nofail,x-systemd.automount,noatime,_netdev"
    assert parse_options([text]) == MountOptions(
        allow_other=True, secondary="/mnt/hd1_mirror", flags=("noatime",)
    )


def test_nothing_leaves_every_choice_to_the_defaults():
    assert parse_options([]) == MountOptions()
    assert parse_options(["", "defaults"]) == MountOptions()


@pytest.mark.parametrize(
    "option",
    [
        "auto",
        "noauto",
        "nofail",
        "_netdev",
        "nouser",
        "rw",
        "x-gvfs-show",
        "X-mount.mkdir",
        "comment=a b",
        "async",
    ],
)
def test_what_is_for_mount_and_systemd_is_passed_over(option):
    assert parse_options([option]) == MountOptions()


def test_the_later_of_a_pair_wins():
    assert parse_options(["noexec,exec"]).flags == ("exec",)
    assert parse_options(["relatime,noatime"]).flags == ("noatime",)
    assert parse_options(["allow_other", "noallow_other"]).allow_other is False


def test_user_mounts_imply_what_mount_says_unless_taken_back():
    assert set(parse_options(["user"]).flags) == {"noexec", "nosuid", "nodev"}
    assert set(parse_options(["users,exec"]).flags) == {"exec", "nosuid", "nodev"}


def test_a_value_with_a_comma_stands_in_quotes():
    assert parse_options(['secondary="/mnt/a,b",noexec']) == MountOptions(
        secondary="/mnt/a,b", flags=("noexec",)
    )


def test_places_can_be_moved_and_a_leg_may_be_missing():
    assert parse_options(["config_dir=/c,state_dir=/s,degraded"]) == MountOptions(
        is_degraded_ok=True, config_dir="/c", state_dir="/s"
    )


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("ro", "read-only"),
        ("remount", "unmount and mount again"),
        ("sync", "twinfs mode"),
        ("nosiud", "did you mean nosuid"),
        ("seconday=/x", "did you mean secondary"),
        ("secondary", "give an absolute path"),
        ("secondary=relative", "give an absolute path"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(option, words):
    with pytest.raises(UsageError, match=words):
        parse_options([option])


def test_roots_volume_has_devices_and_set_user_id_like_any_mount():
    assert kernel_flags(parse_options(["noatime"]), is_root=True) == ("suid", "dev", "noatime")
    assert kernel_flags(parse_options(["nosuid"]), is_root=True) == ("dev", "nosuid")


def test_a_users_volume_asks_for_nothing_that_the_kernel_refuses():
    assert kernel_flags(parse_options(["noatime"]), is_root=False) == ("noatime",)
