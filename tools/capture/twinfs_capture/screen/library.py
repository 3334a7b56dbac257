"""PyAV, which brings ffmpeg with it: is it there, and does it keep quiet."""

from __future__ import annotations

from twinfs_capture.errors import CaptureError


def check_library() -> None:
    """Raises CaptureError where it is missing."""
    try:
        import av.logging
    except ImportError as error:
        raise CaptureError(
            "films take the Python package av (PyAV): pip install 'twinfs[capture]'"
        ) from error
    # What goes wrong is said by us; ffmpeg's own words would go to stderr from any thread.
    av.logging.set_level(av.logging.FATAL)
