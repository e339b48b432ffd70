"""`mird build` from the web, end to end: a real server on loopback, real kills, and what is left in the folder."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from million_ird.config import merge
from million_ird.curate import build
from million_ird.curate.estimate import estimate
from million_ird.curate.remove import read_names, remove
from million_ird.curate.stages import decide
from million_ird.errors import ConfigError, InputError
from million_ird.meters.phash import phash
from million_ird.sources.web.answer import Answer
from million_ird.sources.web.downloads import Downloads, Work
from million_ird.sources.web.settings import Fetch
from tests.conftest import SMALL
from tests.curate.test_build import digest, ledger, rows
from tests.sources.webserver import Trap, WebServer, busy, error, file, first, jpeg, later, numbered, page, slow


def settings(web: WebServer, **sections) -> dict:
    fetch = {
        "private_hosts": True,
        "hosts": web.hosts,
        "host_rate": 0,
        "backoff": 0.05,
        "connect_seconds": 1,
        "read_seconds": 0.5,
        "total_seconds": 2,
    }
    names = ("blur", "flat", "noise", "compression", "exposure", "border", "product", "upscaled", "iqa")
    rules = {name: {"enabled": False} for name in names}
    return merge(merge(SMALL, {"fetch": fetch, "policy": rules}), sections)


def listed(folder: Path, urls: list[str], name: str = "urls.txt") -> Path:
    path = folder / name
    path.write_text("\n".join(urls))
    return path


@pytest.fixture
def web():
    with WebServer() as server:
        yield server


@pytest.fixture
def pictures(web, corpus):
    """The corpus on two hosts: URLs in the order of its files."""
    return [
        web.add(f"{'ab'[n % 2]}.test", f"/{path.name}", file(path.read_bytes()))
        for n, path in enumerate(sorted(corpus.iterdir()))
    ]


def without_times(out: Path) -> list[dict]:
    """The ledger without what depends on when it was fetched."""
    found = []
    for row in ledger(out).values():
        meta = {name: value for name, value in json.loads(row["meta"] or "{}").items() if name != "fetched_at"}
        found.append(row | {"meta": meta})
    return found


def test_a_list_of_urls_becomes_what_a_folder_of_the_same_files_becomes(corpus, pictures, web, tmp_path):
    build([corpus], tmp_path / "folder", settings(web))
    summary = build([listed(tmp_path, pictures)], tmp_path / "web", settings(web))
    local = {name: row["reason"] for name, row in rows(tmp_path / "folder").items()}
    local["text.jpg"] = "fetch_failed"
    assert {url.rpartition("/")[2]: row["reason"] for url, row in rows(tmp_path / "web").items()} == local
    assert summary.kept > 5
    by_id = {row["id"] for row in ledger(tmp_path / "web").values()}
    assert by_id == {hashlib.sha256(path.read_bytes()).hexdigest() for path in corpus.iterdir()} - {
        hashlib.sha256((corpus / "text.jpg").read_bytes()).hexdigest()
    } | {None}


def test_every_failure_is_a_row_with_its_status_and_its_class(web, tmp_path):
    good = web.add("a.test", "/good.jpg", file(jpeg(0)))
    answers = {
        "fetch_failed http_404": web.add("a.test", "/404.jpg", error(404)),
        "fetch_failed not_image": web.add("a.test", "/page.jpg", page(kind="image/jpeg")),
        "fetch_failed too_large": web.add("a.test", "/large.jpg", file(jpeg(1) + bytes(300_000))),
        "fetch_failed slow": web.add("a.test", "/slow.jpg", slow(jpeg(0), 500)),
        "fetch_failed http_500": web.add("a.test", "/500.jpg", error(500)),
        "fetch_failed dns": "http://no-such-host.invalid/x.jpg",
        "fetch_failed bad_url": "not a url",
        "blocked opt_out": web.add("a.test", "/noai.jpg", file(jpeg(2), headers={"X-Robots-Tag": "noai"})),
        "blocked robots": web.add("a.test", "/private/x.jpg", file(jpeg(3))),
        "blocked scheme": "ftp://a.test/x.jpg",
    }
    web.robots("a.test", "User-agent: *\nDisallow: /private/")
    config = settings(web, fetch={"max_bytes": 200_000})
    summary = build([listed(tmp_path, [good, *answers.values()])], tmp_path / "out", config)
    found = {uri: f"{row['status']} {row['error'] or ''}".strip() for uri, row in ledger(tmp_path / "out").items()}
    assert found == {good: "ok"} | {url: told for told, url in answers.items()}
    assert sum(summary.reasons.values()) + summary.kept == summary.inputs == len(answers) + 1
    report = (tmp_path / "out" / "report.html").read_text()
    assert "Not fetched" in report
    assert "http_404" in report
    assert "a.test" in report
    card = (tmp_path / "out" / "dataset" / "README.md").read_text()
    assert "were obeyed" in card
    assert "opt\\_out" in card


def test_columns_of_a_list_and_what_was_observed_become_metadata(web, tmp_path):
    url = web.add("a.test", "/1.jpg", file(jpeg(1), headers={"X-Robots-Tag": "nofollow", "Last-Modified": "x"}))
    other = web.add("a.test", "/2.jpg", file(jpeg(2)))
    table = "image_url,width,license,artist\n" + f"{url},320,CC0,Ann\n{other},100,CC0,Bob\n{url},320,CC0,Ann\n"
    (tmp_path / "list.csv").write_text(table)
    build([tmp_path / "list.csv"], tmp_path / "out", settings(web, sources={"where": "width >= 300"}))
    (row,) = ledger(tmp_path / "out").values()
    meta = json.loads(row["meta"])
    assert (meta["licence"], meta["author"], meta["width"]) == ("CC0", "Ann", "320")
    assert meta["signals"] == ["x-robots-tag: nofollow"]
    assert meta["http_headers"]["content-type"] == "image/jpeg"
    assert meta["fetched_at"].endswith("+00:00")
    plan = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert plan["skipped"] == {"URL again": 1, "where: width >= 300": 1}
    assert not web.asked("a.test", "/2.jpg")


def test_the_store_is_webdataset_with_the_bytes_as_they_came(web, tmp_path):
    urls = [web.add("a.test", f"/{n}.jpg", file(jpeg(n))) for n in range(3)]
    build([listed(tmp_path, urls)], tmp_path / "out", settings(web))
    with tarfile.open(tmp_path / "out" / "store" / "part-00000.tar") as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}
    keys = {row["key"]: row["uri"] for row in rows(tmp_path / "out").values()}
    assert set(members) == {f"{key}.{suffix}" for key in keys for suffix in ("jpg", "json")}
    for key, url in keys.items():
        assert members[f"{key}.jpg"] == jpeg(int(url[-5]))
        assert json.loads(members[f"{key}.json"])["url"] == url
    table = pq.ParquetFile(tmp_path / "out" / "dataset" / "data" / "train-00000-of-00001.parquet").read()
    assert {hashlib.sha256(row["bytes"]).hexdigest() for row in table.column("image").to_pylist()} == {
        hashlib.sha256(jpeg(n)).hexdigest() for n in range(3)
    }


def test_headers_decide_before_bodies_and_new_thresholds_fetch_what_they_want_to_see(web, tmp_path):
    urls = [web.add("a.test", f"/{n}.jpg", file(jpeg(n, 800, 600, 90))) for n in range(3)]
    config = settings(web, policy={"resolution": {"min_side": 700}}, export={"image": "as_found"})
    out = tmp_path / "out"
    summary = build([listed(tmp_path, urls)], out, config)
    assert summary.reasons == {"resolution": 3}
    assert {row["id"] for row in ledger(out).values()} == {None}
    assert {(row["width"], row["bytes"] > 65536) for row in ledger(out).values()} == {(800, True)}
    assert all(asked.sent <= 65536 for asked in web.log)
    assert "saved by judging 3 files" in (out / "report.html").read_text()
    lower = merge(config, {"policy": {"resolution": {"min_side": 96}}})
    assert "measure only those" not in build([listed(tmp_path, urls)], out, lower).remedy
    assert build([listed(tmp_path, urls)], out, lower).kept == 3
    assert all(row["id"] for row in ledger(out).values())


def test_a_finished_build_asks_nothing_of_the_web_again(web, pictures, tmp_path):
    config = settings(web)
    build([listed(tmp_path, pictures)], tmp_path / "out", config)
    count = len(web.log)
    assert build([listed(tmp_path, pictures)], tmp_path / "out", config).up_to_date
    decide(tmp_path / "out", lambda stored: stored.model_copy(update={"seed": 1}))
    assert len(web.log) == count


def test_what_failed_and_may_have_healed_is_taken_up_by_retry_failed_alone(web, tmp_path):
    good = web.add("a.test", "/good.jpg", file(jpeg(0)))
    heals = web.add("a.test", "/heals.jpg", first(1, error(503), file(jpeg(1))))
    gone = web.add("a.test", "/gone.jpg", error(404))
    waits = web.add("b.test", "/waits.jpg", first(1, busy(3600), file(jpeg(2))))
    urls, config, out = [good, heals, gone, waits], settings(web, fetch={"retries": 0}), tmp_path / "out"
    source = listed(tmp_path, urls)
    assert build([source], out, config).reasons == {"fetch_failed": 3}
    assert build([source], out, config).up_to_date
    assert build([source], out, config, retry_failed=True).kept == 3
    asked = {url: len(web.asked(path=url[url.index("/", 8) :])) for url in urls}
    assert asked == {good: 1, heals: 2, gone: 1, waits: 2}
    assert {path.name for path in (out / "store").iterdir()} == {
        "part-00000.tar",
        "part-00000.1.tar",
        "part-00000.parquet",
    }
    assert build([source], out, config, retry_failed=True).kept == 3


def test_what_was_fetched_again_before_a_kill_is_measured_by_the_next_retry(web, tmp_path):
    urls = [web.add("a.test", f"/{number}.jpg", first(1, error(503), file(jpeg(number)))) for number in range(3)]
    config, out = settings(web, fetch={"retries": 0}), tmp_path / "out"
    source = listed(tmp_path, urls)
    assert build([source], out, config).reasons == {"fetch_failed": 3}
    part = out / "ledger" / "base" / "part-00000.parquet"
    failed = part.read_bytes()
    assert build([source], out, config, retry_failed=True).kept == 3
    part.write_bytes(failed)  # as after a kill between the store and the ledger
    asked = len(web.log)
    assert build([source], out, config, retry_failed=True).kept == 3
    assert len(web.log) == asked


def test_a_try_is_repeated_where_it_helps_and_a_retry_after_is_waited_for(web, tmp_path):
    urls = [
        web.add("a.test", "/503.jpg", first(2, error(503), file(jpeg(0)))),
        web.add("b.test", "/busy.jpg", first(1, busy(1), file(jpeg(1)))),
        web.add("c.test", "/404.jpg", error(404)),
    ]
    build([listed(tmp_path, urls)], tmp_path / "out", settings(web))
    assert [row["status"] for row in ledger(tmp_path / "out").values()] == ["ok", "ok", "fetch_failed"]
    first_try, second = (asked.time for asked in web.asked("b.test", "/busy.jpg"))
    assert second - first_try >= 1
    assert len(web.asked("c.test", "/404.jpg")) == 1


def test_a_dead_host_is_given_up_and_the_others_go_on(web, tmp_path):
    with Trap() as dead:
        urls = [f"http://dead.test:{dead.port}/{n}.jpg" for n in range(60)]
        urls += [web.add("a.test", f"/{n}.jpg", file(jpeg(n))) for n in range(3)]
        fetch = {"hosts": {**web.hosts, "dead.test": "127.0.0.1"}, "give_up": 4, "retries": 0, "obey": False}
        began = time.monotonic()
        build([listed(tmp_path, urls)], tmp_path / "out", settings(web, fetch=fetch))
        assert time.monotonic() - began < 20
        found = [row["error"] for row in ledger(tmp_path / "out").values()]
        assert found[-3:] == [None] * 3
        assert found.count("host_down") > 40
        assert dead.connections <= 12
    obeying = settings(web, fetch={**fetch, "obey": True}, policy={"resolution": {"min_side": 97}})
    build([listed(tmp_path, urls)], tmp_path / "out", obeying)
    assert "NOT obeyed for" in (tmp_path / "out" / "dataset" / "README.md").read_text()


def test_a_shard_of_which_nothing_comes_is_closed(web, tmp_path):
    from million_ird.records import Item

    urls = [web.add("a.test", "/1.jpg", file(jpeg(1))), web.add("a.test", "/2.jpg", later(60, file(jpeg(2))))]
    items = [Item("list", url, b"") for url in urls]
    rules = Fetch(private_hosts=True, hosts=web.hosts, stall_seconds=1, read_seconds=30, obey=False)
    work = Work(tmp_path, [0], lambda shard: items, {"list": False})
    with Downloads(work, rules, None, lambda url, data: "", None) as downloads:
        assert [shard for shard in downloads if shard is not None] == [0]
    assert pq.ParquetFile(tmp_path / "part-00000.parquet").read().column("error").to_pylist() == ["", "stalled"]


def test_an_answer_that_comes_after_its_shard_was_closed_changes_nothing(web, tmp_path):
    from million_ird.records import Item

    late = web.add("a.test", "/late.jpg", later(2.5, file(jpeg(0))))
    steady = [web.add("b.test", f"/{n}.jpg", later(0.5, file(jpeg(n)))) for n in range(1, 9)]
    shards = [[Item("list", late, b"")], [Item("list", url, b"") for url in steady]]
    rules = Fetch(private_hosts=True, hosts=web.hosts, stall_seconds=1, per_host=1, host_rate=0, obey=False)
    work = Work(tmp_path, [0, 1], shards.__getitem__, {"list": False})
    with Downloads(work, rules, None, lambda url, data: "", None) as downloads:
        assert [shard for shard in downloads if shard is not None] == [0, 1]
        assert (downloads.traffic.done, downloads.traffic.good) == (9, 8)
    errors = [pq.ParquetFile(tmp_path / f"part-0000{n}.parquet").read().column("error").to_pylist() for n in (0, 1)]
    assert errors == [["stalled"], [""] * 8]


def test_requests_to_a_host_keep_their_distance(web, tmp_path):
    web.robots("slow.test", "User-agent: *\nCrawl-delay: 0.2")
    urls = [web.add("a.test", f"/{n}.jpg", file(jpeg(n))) for n in range(6)]
    urls += [web.add("slow.test", f"/{n}.jpg", file(jpeg(n))) for n in range(4)]
    build([listed(tmp_path, urls)], tmp_path / "out", settings(web, fetch={"host_rate": 20, "per_host": 1}))
    times = sorted(asked.time for asked in web.asked("a.test") if asked.path != "/robots.txt")
    assert times[-1] - times[0] >= 0.95 * 5 / 20
    times = sorted(asked.time for asked in web.asked("slow.test") if asked.path != "/robots.txt")
    assert times[-1] - times[1] >= 0.95 * 2 * 0.2


KILLED = """
import sys, yaml
from million_ird.curate import build
build([sys.argv[1]], sys.argv[2], yaml.safe_load(open(sys.argv[3])))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
@pytest.mark.parametrize("shards", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_a_killed_build_ends_the_same_and_fetches_only_unfinished_shards_again(web, tmp_path, shards):
    urls = [web.add(f"{'abc'[n % 3]}.test", f"/{n}.jpg", later(0.05, file(jpeg(n, 160, 120)))) for n in range(60)]
    config = settings(web, fetch={"shards": shards, "per_host": 2}, run={"workers": 1, "shard_size": 6})
    source = listed(tmp_path, urls)
    build([source], tmp_path / "whole", config)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    web.log.clear()
    out = tmp_path / "out"
    call = [sys.executable, "-c", KILLED, str(source), str(out), str(tmp_path / "config.yaml")]
    process = subprocess.Popen(call, start_new_session=True)
    deadline = time.monotonic() + 60
    while len(list((out / "store").glob("*.parquet"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = {int(path.stem[5:]) for path in (out / "store").glob("part-*.parquet")}
    assert 3 <= len(done) < 10
    build([source], out, config)
    assert without_times(out) == without_times(tmp_path / "whole")
    assert digest(out)["decisions.parquet"] == digest(tmp_path / "whole")["decisions.parquet"]
    for number, url in enumerate(urls):
        times = len(web.asked(path=f"/{number}.jpg"))
        assert times == 1 if number // 6 in done else times <= 2, url
    twice = [n for n in range(60) if len(web.asked(path=f"/{n}.jpg")) > 1]
    assert len({n // 6 for n in twice}) <= shards


def test_more_processes_make_the_same(web, pictures, tmp_path):
    build([listed(tmp_path, pictures)], tmp_path / "one", settings(web))
    build([listed(tmp_path, pictures)], tmp_path / "two", settings(web, run={"workers": 2, "shard_size": 4}))
    assert without_times(tmp_path / "one") == without_times(tmp_path / "two")


def test_what_the_blocklist_names_never_reaches_the_disk(web, tmp_path):
    from PIL import Image

    near = io.BytesIO()
    Image.open(io.BytesIO(jpeg(3))).save(near, "JPEG", quality=60)
    urls = [web.add("a.test", f"/{n}.jpg", file(jpeg(n))) for n in range(3)]
    urls += [web.add("img.bad.test", "/x.jpg", file(jpeg(9))), web.add("a.test", "/near.jpg", file(near.getvalue()))]
    import numpy as np

    named = phash(np.asarray(Image.open(io.BytesIO(jpeg(3)))))
    lines = [
        "# what must not be kept",
        f"url {urls[0]}",
        f"sha256 {hashlib.sha256(jpeg(1)).hexdigest()}",
        "host bad.test",
        f"phash {named:016x}",
    ]
    (tmp_path / "block.txt").write_text("\n".join(lines))
    config = settings(web, fetch={"blocklist": str(tmp_path / "block.txt")})
    build([listed(tmp_path, urls)], tmp_path / "out", config)
    found = [(row["status"], row["error"]) for row in ledger(tmp_path / "out").values()]
    assert found == [("blocked", "blocklist")] * 2 + [("ok", None)] + [("blocked", "blocklist")] * 2
    assert not web.asked("a.test", "/0.jpg")
    assert not web.asked("img.bad.test", "/x.jpg")
    stored = b"".join(path.read_bytes() for path in (tmp_path / "out" / "store").glob("*.tar"))
    assert jpeg(1)[3000:3300] not in stored
    assert near.getvalue()[3000:3300] not in stored


def test_a_line_of_a_blocklist_that_is_not_understood_is_named(web, tmp_path):
    (tmp_path / "block.txt").write_text("host a.test\nsha256 12\n")
    config = settings(web, fetch={"blocklist": str(tmp_path / "block.txt")})
    url = web.add("a.test", "/1.jpg", file(jpeg(1)))
    with pytest.raises(ConfigError, match=r"block.txt, line 2: 'sha256 12'"):
        build([listed(tmp_path, [url])], tmp_path / "out", config)


def test_removal_takes_rows_bytes_and_copies_and_nothing_brings_them_back(web, corpus, tmp_path):
    named = (corpus / "01.jpg").read_bytes()
    urls = [web.add("a.test", f"/{n}.jpg", file(named if n == 1 else jpeg(n))) for n in range(4)]
    urls += [web.add("a.test", "/copy.jpg", file(numbered(named, 5))), web.add("a.test", "/5.jpg", file(jpeg(5)))]
    source, out, config = listed(tmp_path, urls), tmp_path / "out", settings(web)
    build([source], out, config)
    before = rows(out)
    assert {before[urls[n]]["reason"] for n in (1, 4)} == {None, "near_duplicate"}
    removal = remove(out, [urls[1], "http://a.test/unknown.jpg"])
    assert (removal.removed, removal.copies, removal.unknown) == (2, 1, ("http://a.test/unknown.jpg",))
    table = pq.ParquetFile(out / "dataset" / "data" / "train-00000-of-00001.parquet").read()
    assert set(table.column("uri").to_pylist()) == {urls[n] for n in (0, 2, 3, 5)}
    everything = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert named[3000:3300] not in everything
    assert jpeg(0)[3000:3300] in everything
    gone = ledger(out)[urls[1]]
    assert (gone["status"], gone["error"], gone["id"], gone["thumb"]) == ("blocked", "removed", None, None)
    count = len(web.log)
    for fresh in (False, True):
        build([source], out, config, fresh=fresh, retry_failed=not fresh)
        assert {rows(out)[urls[n]]["reason"] for n in (1, 4)} == {"blocked"}
    assert not [asked for asked in web.log[count:] if asked.path in ("/1.jpg", "/copy.jpg")]
    names = tmp_path / "names.txt"
    names.write_text("# takedown\n\nabc\n")
    assert read_names(names) == ["abc"]
    names.write_text("# nothing\n")
    with pytest.raises(InputError, match="holds no id"):
        read_names(names)


def test_removal_works_on_local_images_too(corpus, tmp_path):
    out = tmp_path / "out"
    build([corpus], out, SMALL)
    name = ledger(out)["00.png"]["id"]
    assert remove(out, [name]).removed >= 2
    assert rows(out)["00.png"]["reason"] == rows(out)["copy.png"]["reason"] == "blocked"
    build([corpus], out, SMALL, fresh=True)
    assert rows(out)["00.png"]["reason"] == rows(out)["copy.png"]["reason"] == "blocked"


def test_a_removal_that_was_cut_off_goes_on(web, tmp_path, monkeypatch):
    from million_ird.sources.web import store

    urls = [web.add("a.test", f"/{n}.jpg", file(jpeg(n))) for n in range(4)]
    out = tmp_path / "out"
    build([listed(tmp_path, urls)], out, settings(web))
    with monkeypatch.context() as patch:
        patch.setattr(store, "write_table", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            remove(out, [urls[2]])
    assert ledger(out)[urls[2]]["status"] == "ok"
    assert remove(out, [urls[2]]).removed == 1
    assert [path.name for path in (out / "store").glob("*.tar")] == ["part-00000.1.tar"]
    with tarfile.open(out / "store" / "part-00000.1.tar") as tar:
        assert len(tar.getnames()) == 6
    assert build([listed(tmp_path, urls)], out, settings(web), retry_failed=True).kept == 3


def test_single_images_lists_and_archives_on_the_web_are_sources(web, corpus, tmp_path):
    image = web.add("a.test", "/photo.jpg", file(jpeg(1)))
    named = web.add("a.test", "/named.jpg", file(jpeg(2)))
    urls = web.add("a.test", "/list.csv", page(f"url\n{named}\n", "text/csv"))
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(corpus / "01.jpg", "01.jpg")
    packed = web.add("a.test", "/more.tar", file(archive.getvalue(), "application/x-tar"))
    summary = build([image, urls, packed], tmp_path / "out", settings(web))
    assert summary.kept == 3
    assert set(rows(tmp_path / "out")) == {image, named, "more.tar::01.jpg"}
    missing = web.url("a.test", "/missing.csv")
    with pytest.raises(InputError, match=r"missing.csv: cannot be fetched: http_404"):
        build([missing], tmp_path / "other", settings(web))


def test_a_site_is_crawled_and_its_pictures_become_a_dataset(web, tmp_path):
    first_page = web.add("a.test", "/", page('<a href="more.html">more</a><img src="/1.jpg" alt="One">'))
    web.add("a.test", "/more.html", page('<img srcset="/2.jpg 100w, /large.jpg 800w">'))
    images = {n: web.add("a.test", f"/{n}.jpg", file(jpeg(k))) for k, n in enumerate(("1", "2", "large"))}
    config = settings(web, crawl={"delay": 0, "sitemaps": False})
    build([first_page], tmp_path / "out", config)
    found = {uri: json.loads(row["meta"]) for uri, row in ledger(tmp_path / "out").items()}
    assert set(found) == {images["1"], images["large"]}
    assert (found[images["1"]]["alt"], found[images["1"]]["page_url"]) == ("One", first_page)
    assert f"Read from: {first_page.replace('_', chr(92) + '_')}" in (tmp_path / "out/dataset/README.md").read_text()
    count = len(web.log)
    assert build([first_page], tmp_path / "out", config).up_to_date
    assert len(web.log) == count


def test_the_dataset_of_one_build_is_a_source_of_another(corpus, tmp_path):
    build([corpus], tmp_path / "one", SMALL)
    summary = build([tmp_path / "one" / "dataset"], tmp_path / "two", SMALL)
    kept = {row["id"] for row in rows(tmp_path / "one").values() if row["keep"]}
    assert {row["id"] for row in rows(tmp_path / "two").values()} == kept
    assert summary.kept == len(kept)


def test_an_estimate_counts_requests_bytes_and_time_and_leaves_nothing(web, tmp_path):
    urls = [web.add("a.test", f"/{n}.jpg", file(jpeg(n % 5))) for n in range(100)]
    found = estimate([listed(tmp_path, urls)], settings(web))
    assert (found.inputs, found.sampled, found.requests) == (100, 24, 100)
    sizes = [len(jpeg(n)) for n in range(5)]
    assert min(sizes) * 100 <= found.fetch_bytes <= max(sizes) * 100
    assert found.fetch_seconds > 0
    assert len(web.asked("a.test")) == 25
    assert sorted(path.name for path in tmp_path.iterdir()) == ["urls.txt"]


def test_other_commands_say_that_they_read_no_urls(tmp_path):
    from million_ird.sources import resolve

    (tmp_path / "urls.txt").write_text("http://a.test/1.jpg")
    with pytest.raises(InputError, match=r"read by `mird build` alone"):
        resolve([str(tmp_path / "urls.txt")])


def test_what_a_disk_cannot_take_ends_the_run_in_one_line(web, tmp_path, monkeypatch):
    import errno

    from million_ird.errors import OutputError
    from million_ird.sources.web.store import StoreWriter

    def full(self, *args):
        raise OSError(errno.ENOSPC, "No space left on device")

    url = web.add("a.test", "/1.jpg", file(jpeg(1)))
    monkeypatch.setattr(StoreWriter, "_written", full)
    with pytest.raises(OutputError, match="the disk is full"):
        build([listed(tmp_path, [url])], tmp_path / "out", settings(web))
    assert not list((tmp_path / "out" / "store").iterdir())
    monkeypatch.undo()
    assert build([listed(tmp_path, [url])], tmp_path / "out", settings(web)).kept == 1


def test_an_answer_tells_what_is_known():
    assert (Answer().status, Answer("robots").status, Answer("dns").status) == ("ok", "blocked", "fetch_failed")
