"""The documentation names what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from million_ird.degrade.registry import OPS, find

DOCS = Path(__file__).parents[1] / "docs" / "degradations"
PAGES = {name: re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=ISP|PNG)(?=[A-Z])", "_", name).lower() for name in OPS}


@pytest.mark.parametrize("name", [name for name in OPS if name != "Albumentations"])
def test_every_degradation_has_a_page_with_each_field_and_a_sheet(name):
    slug = PAGES[name].replace("web_p", "webp")
    text = (DOCS / f"{slug}.md").read_text()
    fields = set(find(name).model_fields) - {"label"}  # every op has it; README.md says what it does
    assert [field for field in fields if f"`{field}`" not in text] == []
    assert f"]({slug}.jpg)" in text
    assert 5_000 < (DOCS / f"{slug}.jpg").stat().st_size < 200_000
    assert f"{slug}.md" in (DOCS / "README.md").read_text()


def test_links_in_the_documentation_lead_somewhere():
    root = DOCS.parents[1]
    for page in [*root.glob("*.md"), *DOCS.glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_setting_of_the_web_is_explained():
    from million_ird.sources.web.settings import Crawl, Fetch

    text = DOCS.with_name("web.md").read_text(encoding="utf-8")
    for section, model in (("fetch", Fetch), ("crawl", Crawl)):
        for name in model.model_fields:
            assert f"`{name}`" in text or f"`{section}.{name}`" in text, name
