"""`mird publish index`: addresses, hashes, measurements and decisions, from which the same dataset is built again, and
which tell what has rotted since."""

from __future__ import annotations

import io
import shutil
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from million_ird import publish
from million_ird.curate import build
from million_ird.curate.remove import remove
from million_ird.errors import InputError
from million_ird.publish.outcome import Unfit
from million_ird.sources import Listing, resolve
from tests.curate.test_build import rows
from tests.curate.test_passes import PROMPTS, clip_folder
from tests.curate.test_web import settings
from tests.sources.webserver import WebServer, error, file

pytest.importorskip("aiohttp")
pytestmark = pytest.mark.filterwarnings("ignore:Use .content=:DeprecationWarning")
REPO = "org/index"


@pytest.fixture
def web():
    with WebServer() as server:
        yield server


@pytest.fixture
def urls(web, corpus) -> dict[str, str]:
    """File name -> URL of the corpus on two hosts."""
    found = enumerate(sorted(corpus.iterdir()))
    return {path.name: web.add(f"{'ab'[n % 2]}.test", f"/{path.name}", file(path.read_bytes())) for n, path in found}


@pytest.fixture
def built(web, urls, tmp_path) -> Path:
    table = "url,license,artist\n" + "".join(f"{url},CC-BY-4.0,Ann\n" for url in urls.values())
    (tmp_path / "list.csv").write_text(table)
    build([tmp_path / "list.csv"], tmp_path / "out", settings(web))
    return tmp_path / "out"


def kept(out: Path) -> dict[str, str]:
    return {uri: row["id"] for uri, row in rows(out).items() if row["keep"]}


def test_an_index_holds_no_pixels_and_rebuilds_the_same_dataset(hub, web, built, tmp_path):
    done = publish.index(built, REPO)
    files = hub.repos[REPO].files
    assert done.private and {"kept/part-00000.parquet", "dropped/part-00000.parquet", "build.yaml"} <= set(files)
    table = pq.read_table(io.BytesIO(files["kept/part-00000.parquet"]))
    assert {"image", "thumb", "meta"}.isdisjoint(table.column_names) and table.num_rows == len(kept(built))
    row = table.to_pylist()[0]
    assert (row["licence"], row["author"], row["keep"]) == ("CC-BY-4.0", "Ann", True) and row["blur"] > 0
    dropped = pq.read_table(io.BytesIO(files["dropped/part-00000.parquet"])).to_pylist()
    copies = {row["uri"].rpartition("/")[2]: row for row in dropped}
    first = next(iter(uri for uri in kept(built) if uri.endswith("/00.png")), None)
    assert copies["near.png"]["reason"] == "near_duplicate"
    assert first is None or copies["near.png"]["kept_as"] == kept(built)[first]

    (tmp_path / "kept.parquet").write_bytes(files["kept/part-00000.parquet"])
    config = yaml.safe_load(files["build.yaml"])
    config["fetch"]["hosts"] = web.hosts
    build([tmp_path / "kept.parquet"], tmp_path / "again", config)
    assert kept(tmp_path / "again") == kept(built)
    rot = publish.compare(built / "index", tmp_path / "again")
    assert rot.same == rot.rows == len(kept(built)) and not rot.examples


def test_what_the_passes_found_is_in_both_parts(hub, built, tmp_path):
    pytest.importorskip("open_clip", reason="the CLIP pass needs the extra `clip`")
    again = yaml.safe_load((built / "build.yaml").read_text())
    again["passes"] = {
        "clip": {"enabled": True, "model": str(clip_folder(tmp_path / "tiny")), "device": "cpu", "scores": PROMPTS}
    }
    build([tmp_path / "list.csv"], built, again)
    publish.index(built, REPO)
    tables = [pq.read_table(built / "index" / part / "part-00000.parquet") for part in ("kept", "dropped")]
    seen = {row["key"]: row["clip_dog"] for row in pq.read_table(built / "ledger" / "clip").to_pylist()}
    for table in tables:
        for row in table.to_pylist():
            assert row["clip_dog"] == seen.get(rows(built)[row["uri"]]["key"])
    assert all(row["clip_dog"] is not None for row in tables[0].to_pylist())
    assert "`clip_dog`" in (built / "index" / "README.md").read_text()


def test_the_published_index_is_a_source_by_its_address(hub, built):
    publish.index(built, REPO)
    (spec,) = resolve([f"hf://datasets/{REPO}/kept"], Listing())
    assert spec.kind == "list"
    assert {item.uri for item in spec.open().items(Counter())} == set(kept(built))


def test_rot_is_told_by_kind(hub, web, urls, built, corpus, tmp_path):
    publish.index(built, REPO)
    names = [uri.rpartition("/")[2] for uri in kept(built)]
    gone, other, again, *rest = names
    web.add("a.test" if "a.test" in urls[gone] else "b.test", f"/{gone}", error(404))
    web.add(
        "a.test" if "a.test" in urls[other] else "b.test", f"/{other}", file((corpus / rest[0]).read_bytes() + b"x")
    )
    out = io.BytesIO()
    Image.open(corpus / again).convert("RGB").save(out, "JPEG", quality=90)
    web.add("a.test" if "a.test" in urls[again] else "b.test", f"/{again}", file(out.getvalue()))
    listed = tmp_path / "again.parquet"
    listed.write_bytes((built / "index" / "kept" / "part-00000.parquet").read_bytes())
    build([listed], tmp_path / "again", settings(web))
    rot = publish.compare(built / "index", tmp_path / "again")
    assert (rot.rows, rot.gone, rot.changed, rot.reencoded, rot.same) == (len(names), 1, 1, 1, len(names) - 3)
    assert rot.why == {"http_404": 1}
    assert {url.rpartition("/")[2]: state for url, state in rot.examples} == {gone: "http_404", other: "changed"}


def test_what_was_removed_is_in_neither_part(hub, built):
    publish.index(built, REPO)
    uri, victim = next(iter(kept(built).items()))
    remove(built, [uri])
    publish.index(built, REPO)
    tables = [pq.read_table(io.BytesIO(d)) for n, d in hub.repos[REPO].files.items() if n.endswith("parquet")]
    assert tables and all(uri not in table.column("uri").to_pylist() for table in tables)
    assert all(victim not in table.column("sha256").to_pylist() for table in tables)


def test_an_index_without_addresses_is_refused(hub, licensed, tmp_path):
    copy = Path(shutil.copytree(licensed, tmp_path / "local"))
    with pytest.raises(Unfit, match="no kept image has an address on the web"):
        publish.index(copy, REPO)
    assert not hub.requests


def test_what_is_no_index_is_said(built, tmp_path):
    with pytest.raises(InputError, match="no index here"):
        publish.compare(tmp_path / "none", built)
    with pytest.raises(InputError, match="is no index: no column url"):
        publish.compare(built / "decisions.parquet", built)
