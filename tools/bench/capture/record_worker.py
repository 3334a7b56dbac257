"""Records for a while in one of several ways; a process of its own, so that its processor time is known.

python -m tools.bench.capture.record_worker DISPLAY FPS SECONDS KIND DIRECTORY
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from twinfs_capture.screen import display as displays
from twinfs_capture.screen.film import FilmWriter
from twinfs_capture.screen.grab import Grabber
from twinfs_capture.screen.targets import Target, existing, target_for


def _target(kind: str, base: Path, width: int, height: int) -> Target:
    match kind:
        case "raw":
            return Target(base / "film.nut", "nut", "rawvideo", "bgra")
        case "lossless":
            return target_for(base / "film.mkv", width, height, lossless=True)
        case "x264":
            return target_for(base / "film.mkv", width, height, lossless=False)
        case "png-9":
            options = {"compression_level": "9", "pred": "mixed"}
            return Target(base / "img_%04d.png", "image2", "png", "rgb24", options, is_frames=True)
    raise ValueError(kind)


def main(display: str, fps: float, seconds: float, kind: str, base: Path) -> None:
    with displays.opened(display) as opened:
        area = opened.area
        target = _target(kind, base, area.width, area.height)
        grabber = Grabber(display, area, fps, cursor=False, window=None, slots=round(fps * seconds))
        before = time.process_time()
        with FilmWriter(target, area.width, area.height, fps) as film:
            grabber.start()
            while (taken := grabber.take()) is not None:
                slot, frame = taken
                film.write(frame, slot)
        grabber.close()
    found = {
        "frames": film.frames,
        "dropped": grabber.dropped,
        "cpu_seconds": time.process_time() - before,
        "bytes": sum(path.stat().st_size for path in existing(target)),
    }
    (base / "result.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), sys.argv[4], Path(sys.argv[5]))
