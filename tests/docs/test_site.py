"""The documentation builds without a warning, names all there is, and needs no other host."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from million_ird.cli.main import app
from million_ird.curate.decide import SCHEMA
from million_ird.curate.ledger import FACTS, measurement_columns
from million_ird.curate.settings import load_config
from million_ird.degrade.registry import COMBINATORS, OPS
from tests.docs.pages import DOCS

ROOT = DOCS.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)]
    own = {"NO_MKDOCS_2_WARNING": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **own}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def text(site: Path, page: str) -> str:
    """A page without its markup."""
    words = re.sub(r"<[^>]*>", "", (site / page).read_text(encoding="utf-8"))
    return words.replace("&lt;", "<").replace("&gt;", ">").replace("&#39;", "'").replace("&quot;", '"')


@pytest.mark.slow
def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 60
    loaded = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=[\"']?(?:https?:)?//[^\"' >]+")
    for page in pages:
        assert loaded.findall(page.read_text(encoding="utf-8")) == [], page
    for sheet in site.rglob("*.css"):
        assert re.findall(r"url\([\"']?(?:https?:)?//", sheet.read_text(encoding="utf-8")) == [], sheet


@pytest.mark.slow
def test_every_command_and_option_is_in_the_reference(site: Path) -> None:
    page = text(site, "reference/cli.html")
    found = 0
    todo = [("mird", get_command(app))]
    while todo:
        name, command = todo.pop()
        todo += [(f"{name} {word}", below) for word, below in getattr(command, "commands", {}).items()]
        assert name in page
        for param in command.params:
            if not getattr(param, "hidden", False) and param.param_type_name == "option":
                assert param.opts[0] in page, f"{name} {param.opts[0]}"
                found += 1
    assert found > 100


@pytest.mark.slow
def test_every_key_column_and_op_is_in_the_reference(site: Path) -> None:
    keys, columns, ops = (text(site, f"reference/{page}.html") for page in ("configuration", "columns", "api/ops"))
    config = load_config("photos")
    for section in type(config).model_fields.values():
        for name in getattr(section.annotation, "model_fields", {}):
            assert f"{name}:" in keys, name
    for name in [*(name for name, _ in FACTS), *measurement_columns(config), *SCHEMA.names]:
        assert re.search(rf"\b{name}\b", columns), name
    for name in [*OPS, *COMBINATORS]:
        assert re.search(rf"\b{name}\b", ops), name


@pytest.mark.slow
def test_no_docstring_of_the_reference_is_shown_raw(site: Path) -> None:
    for page in (site / "reference" / "api").glob("*.html"):
        words = text(site, f"reference/api/{page.name}")
        assert ":::" not in words, page.name
        assert not re.search(r"^ *(Args|Raises|Returns):\n *\w+:", words, re.MULTILINE), page.name


def test_every_page_is_in_the_navigation() -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in DOCS.rglob("*.md"):
        assert f" {page.relative_to(DOCS).as_posix()}\n" in nav, page


def test_links_between_pages_lead_somewhere() -> None:
    made = {"reference/cli.md", "reference/configuration.md", "reference/columns.md", "reference/api/ops.md"}
    for page in DOCS.rglob("*.md"):
        prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", prose):
            path = Path(os.path.normpath(page.parent / target))
            assert path.exists() or path.relative_to(DOCS).as_posix() in made, f"{page.relative_to(DOCS)}: {target}"


def test_pages_name_no_local_path_and_no_registry() -> None:
    unwanted = re.compile(r"/tmp/|/home/\w|/root/|pypi[.]org|registry[.]npmjs")
    for page in DOCS.rglob("*.md"):
        assert not unwanted.search(page.read_text(encoding="utf-8")), page
