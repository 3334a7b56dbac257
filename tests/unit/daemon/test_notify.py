"""Telling systemd, with a real datagram socket in its place."""

from __future__ import annotations

import socket

import pytest

from twinfs.daemon.notify import notify


@pytest.mark.parametrize("is_abstract", [False, True])
def test_the_state_arrives(tmp_path, monkeypatch, is_abstract):
    address = "\0twinfs-test-notify" if is_abstract else str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address.replace("\0", "@"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        notify("READY=1")
        assert manager.recv(100) == b"READY=1"


def test_without_a_service_manager_nothing_happens(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")


def test_a_service_manager_that_is_gone_is_logged_only(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify("STOPPING=1")
    assert "NOTIFY_SOCKET" in caplog.text
