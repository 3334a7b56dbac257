"""What README and docs point at is there."""

from __future__ import annotations

import re
import tomllib

import pytest

from docs.markdown import ROOT, documents, first_column, links

MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(document):
    local = [link.partition("#")[0] for link in links(document) if "://" not in link]
    missing = [link for link in local if link and not (document.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_make_target_named_in_it_exists(document):
    named = set(re.findall(r"(?:`|^    (?:sudo )?|sudo )make ([a-z]+)\b", document.read_text(), re.MULTILINE))
    assert named <= TARGETS


def test_make_help_lists_every_target_people_call():
    listed = set(re.findall(r'echo "make ([a-z]+)', MAKEFILE))
    assert listed == TARGETS - {"help", "setup-run", "setup-test"}


def test_every_page_of_docs_is_reached_from_the_index():
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert pages <= set(links(ROOT / "docs" / "index.md"))


def test_layers_page_names_the_layers_of_the_contract_in_order():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    contract = next(contract for contract in contracts if contract["type"] == "layers")
    layers = re.findall(r"[a-z]+", re.sub(r"\([a-z]+\)", "", " ".join(contract["layers"])))
    page = (ROOT / "docs" / "layers.md").read_text()
    assert [re.sub(r"/|\.py", "", word) for [word] in first_column(page)] == layers
