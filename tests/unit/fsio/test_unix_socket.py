"""Sockets in directories of any depth."""

from __future__ import annotations

import os
import stat

import pytest

from twinfs.fsio import unix_socket


@pytest.mark.parametrize("depth", [0, 5, 40])
def test_a_socket_can_be_reached_however_long_its_path(tmp_path, depth):
    path = tmp_path.joinpath(*["a-long-directory-name"] * depth) / "pair.sock"
    with unix_socket.listen(path) as server, unix_socket.connect(path, 1.0) as client:
        connection, _ = server.accept()
        with connection:
            client.sendall(b"x")
            assert connection.recv(1) == b"x"


def test_only_the_owner_may_connect(tmp_path):
    path = tmp_path / "run" / "pair.sock"
    umask = os.umask(0)
    try:
        with unix_socket.listen(path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            assert os.umask(0) == 0
    finally:
        os.umask(umask)


def test_a_dead_daemons_socket_is_replaced(tmp_path):
    path = tmp_path / "pair.sock"
    unix_socket.listen(path).close()
    with pytest.raises(ConnectionRefusedError):
        unix_socket.connect(path, 1.0)
    with unix_socket.listen(path):
        unix_socket.connect(path, 1.0).close()


def test_no_descriptor_is_left_behind(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    deep = tmp_path.joinpath(*["a-long-directory-name"] * 10) / "pair.sock"
    unix_socket.listen(deep).close()
    for path in (deep, tmp_path / "missing.sock"):
        with pytest.raises(OSError, match=r"refused|No such file"):
            unix_socket.connect(path, 1.0)
    assert len(os.listdir("/proc/self/fd")) == before
