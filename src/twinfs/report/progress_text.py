"""A long operation's position in words: for logs, pipes and terminals without a bar."""

from __future__ import annotations

from twinfs.model import Progress
from twinfs.report import human


def progress_line(progress: Progress, elapsed_seconds: float) -> str:
    """For example "copying: 120 of 3000 files, 1.2 GiB of 40 GiB, 35 MiB/s, 18 min 4 s left"."""
    parts = [
        _of(str(progress.files_done), str(progress.files_total) if progress.files_total else "") + " files",
        _of(
            human.size(progress.bytes_done), human.size(progress.bytes_total) if progress.bytes_total else ""
        ),
    ]
    rate = rate_bytes(progress, elapsed_seconds)
    if rate:
        parts.append(f"{human.size(rate)}/s")
    left = left_seconds(progress, elapsed_seconds)
    if left:
        parts.append(f"{human.duration(left)} left")
    return f"{progress.step}: {', '.join(parts)}"


def rate_bytes(progress: Progress, elapsed_seconds: float) -> float:
    """Bytes a second since the beginning; 0.0 before a second has passed, when it would say nothing."""
    return progress.bytes_done / elapsed_seconds if elapsed_seconds >= 1 else 0.0


def left_seconds(progress: Progress, elapsed_seconds: float) -> float | None:
    """Time left by what is slower to finish, bytes or files; None while that cannot be known."""
    shares = [
        done / total
        for done, total in (
            (progress.bytes_done, progress.bytes_total),
            (progress.files_done, progress.files_total),
        )
        if total
    ]
    if not shares or min(shares) <= 0 or elapsed_seconds < 1:
        return None
    share = min(min(shares), 1.0)
    return elapsed_seconds * (1 - share) / share


def _of(done: str, total: str) -> str:
    return f"{done} of {total}" if total else done
