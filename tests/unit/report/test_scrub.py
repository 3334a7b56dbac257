"""What a scrub found, as lines, JSON and a page."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

from twinfs.model import BadLeg, Mismatch, MismatchKind, ReadMethod, ScrubRun
from twinfs.report.scrub_html import scrub_html
from twinfs.report.scrub_text import mismatch_dict, mismatch_line, run_dict, run_text

DIRECT, DROPPED = ReadMethod.DIRECT, ReadMethod.DROPPED
RUN = ScrubRun(1.7e9, 1.7e9 + 60, "full", 120, 1 << 30, 0, 0, 0, 60.0, (DIRECT, DIRECT))
FOUND = Mismatch("a/b", MismatchKind.CONTENT, BadLeg.SECONDARY, repaired=True, detail="the bytes differ")


def test_a_mismatch_in_words():
    assert mismatch_line(FOUND) == "a/b: content, secondary is bad (the bytes differ); repaired"
    unknown = replace(FOUND, bad_leg=BadLeg.UNKNOWN, repaired=False)
    assert mismatch_line(unknown) == "a/b: content, which copy is bad is unknown (the bytes differ)"


def test_json_has_the_promised_fields():
    assert list(mismatch_dict(FOUND)) == ["type", "path", "kind", "bad_leg", "repaired", "detail"]
    assert mismatch_dict(replace(FOUND, path="\udcff"))["path"] == "\\xff"
    promised = ["type", "files", "bytes", "mismatches", "repaired", "seconds"]
    assert list(run_dict(RUN))[:6] == promised


def test_a_run_in_words():
    assert run_text("photos", RUN) == (
        "volume photos: both legs are equal\n"
        "  120 objects compared, 1.0 GiB read from each disk in 1 min, 17.1 MiB/s of each,"
        " past the page cache"
    )
    busy = replace(RUN, mismatches=3, repaired=1, busy=2, read=(DIRECT, DROPPED))
    text = run_text("photos", busy)
    assert "3 mismatched, 1 repaired, 2 left" in text
    assert "the primary past the page cache, the secondary after dropping" in text
    assert "2 files being written all the while" in text


def test_the_page_is_whole_and_names_nothing_of_the_network():
    runs = [replace(RUN, finished=RUN.finished + day * 86400, mismatches=day % 3) for day in range(40)]
    odd = replace(FOUND, path="<script>&\udcff", detail='"quoted"')
    page = scrub_html("a<b", runs, [odd])
    assert "<script" not in page
    assert "&lt;script&gt;&amp;" in page
    for outside in ("http:", "https:", "//", "@import", "url("):
        assert outside not in page
    chart = page[page.index("<svg") : page.index("</svg>") + 6]
    bars = ElementTree.fromstring(chart).findall("rect")
    assert len(bars) == 40
    assert {bar.get("class") for bar in bars} == {"good", "bad"}


def test_one_scrub_of_nothing_makes_a_page_too():
    assert "Both legs are equal." in scrub_html("v", [replace(RUN, bytes=0, files=0)], [])


def test_of_more_mismatches_than_are_listed_the_rest_is_counted():
    assert "And 9 more." in scrub_html("v", [replace(RUN, mismatches=10)], [FOUND])
