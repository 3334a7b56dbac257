"""The ways to reach people who are not looking: a program of theirs, and mail."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Protocol

from twinfs.daemon.command import Command, CommandError
from twinfs.daemon.paths import Paths
from twinfs.model import Notice, VolumeConfig
from twinfs.report import json_lines, mail_text
from twinfs.report.plain_text import readable
from twinfs.report.severity import is_worth_a_mail

TIMEOUT_SECONDS: Final = 30.0
_MAIL_PAUSE_SECONDS: Final = 60.0
# execve(2) takes no variable beyond 128 KiB; the whole text is on stdin.
_MAX_VARIABLE_CHARACTERS: Final = 8192
_SENDMAIL_PLACES: Final = ("/usr/sbin", "/usr/lib", "/sbin", "/usr/local/sbin")


class Channel(Protocol):
    """One way. `at_once` notices are handed on together, `pause_seconds` pass between two deliveries."""

    name: ClassVar[str]
    at_once: ClassVar[int]
    pause_seconds: ClassVar[float]

    def wants(self, notice: Notice) -> bool: ...

    def deliver(self, notices: Sequence[Notice]) -> str:
        """Hand on, in order; returns what was done. Blocks. Raises CommandError."""

    def kill(self) -> None:
        """End a delivery that is going on, and let no other begin. From another thread."""


class _Runner:
    """What both have: a program that is run with a time limit."""

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._running: set[Command] = set()
        self._is_ending = False

    def _run(self, words: Sequence[str], given: bytes, environment: Mapping[str, str]) -> float:
        """Returns how many seconds it took."""
        begin = time.monotonic()
        command = Command(words)
        self._running.add(command)
        try:
            if self._is_ending:
                command.kill()
            command.run(given, environment, self._timeout_seconds)
        finally:
            self._running.discard(command)
        return time.monotonic() - begin

    def kill(self) -> None:
        self._is_ending = True
        for command in list(self._running):
            command.kill()


class Hook(_Runner):
    """`on_event`: run for each event, which it finds as JSON on its stdin and in TWINFS_* variables."""

    name: ClassVar[str] = "hook"
    at_once: ClassVar[int] = 1
    pause_seconds: ClassVar[float] = 0.0

    def __init__(self, words: Sequence[str], paths: Paths, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        super().__init__(timeout_seconds)
        self._words = words
        # So that a `twinfs status` in the hook is about this volume, wherever its files are.
        self._places = {
            "TWINFS_CONFIG_DIR": str(paths.config_dir),
            "TWINFS_STATE_DIR": str(paths.state_dir),
            "TWINFS_RUN_DIR": str(paths.run_dir),
        }

    def wants(self, notice: Notice) -> bool:
        return True

    def deliver(self, notices: Sequence[Notice]) -> str:
        seconds = 0.0
        for notice in notices:
            line = json_lines.line(json_lines.event_dict(notice.event)) + "\n"
            seconds += self._run(self._words, line.encode(), {**self._places, **_variables(notice)})
        return f"{self._words[0]} ended with exit code 0 after {seconds:.1f} s"


class Mail(_Runner):
    """`mail_to`: through sendmail, what waits in one mail, at most one a minute."""

    name: ClassVar[str] = "mail"
    at_once: ClassVar[int] = 100
    pause_seconds: ClassVar[float] = _MAIL_PAUSE_SECONDS

    def __init__(self, addresses: Sequence[str], timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        super().__init__(timeout_seconds)
        self._addresses = addresses

    def wants(self, notice: Notice) -> bool:
        return is_worth_a_mail(notice.event.kind)

    def deliver(self, notices: Sequence[Notice]) -> str:
        program = find_sendmail()
        if program is None:
            raise CommandError(
                "sendmail is not installed, so no mail can be sent;"
                " install a mail transfer agent, such as: apt install msmtp-mta"
            )
        message = _mail(notices, self._addresses, socket.gethostname())
        # -i: a line that is a single dot does not end the mail.
        self._run([program, "-i", *self._addresses], message, {})
        return f"{program} took it for {', '.join(self._addresses)}"


def channels_of(config: VolumeConfig, paths: Paths) -> list[Channel]:
    """Those that the settings ask for."""
    found: list[Channel] = []
    if config.on_event:
        found.append(Hook(config.on_event, paths))
    if config.mail_to:
        found.append(Mail(config.mail_to))
    return found


def find_sendmail() -> str | None:
    """Its path, or None. It is in a directory that only root's PATH has."""
    places = os.pathsep.join((os.environ.get("PATH", os.defpath), *_SENDMAIL_PLACES))
    return shutil.which("sendmail", path=places)


def _variables(notice: Notice) -> dict[str, str]:
    event = notice.event
    values = {
        "TWINFS_TIME": f"{event.time:.3f}",
        "TWINFS_VOLUME": event.volume,
        "TWINFS_KIND": event.kind,
        "TWINFS_MESSAGE": event.message,
        "TWINFS_SEVERITY": notice.severity.value,
        "TWINFS_STATE": "" if notice.state is None else notice.state.value,
        "TWINFS_ACTION": notice.action or "",
    }
    return {
        key: readable(value).replace("\0", " ")[:_MAX_VARIABLE_CHARACTERS] for key, value in values.items()
    }


def _mail(notices: Sequence[Notice], addresses: Sequence[str], host: str) -> bytes:
    """RFC 5322, lines ended as sendmail takes them. No sender: whose mail it is, the machine knows best."""
    from email.message import EmailMessage
    from email.utils import formatdate

    message = EmailMessage()
    message["To"] = ", ".join(addresses)
    message["Subject"] = mail_text.subject(notices, host)
    message["Date"] = formatdate(localtime=True)
    # RFC 3834: nobody's out-of-office answers this.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail_text.body(notices, host))
    return message.as_bytes()
