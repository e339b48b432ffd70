"""`--out s3://…`: the same bytes as in a folder, whatever becomes of drivers, scratch folders and requests."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest
import yaml

from million_ird.config import merge
from million_ird.curate import build
from million_ird.curate.settings import as_config
from million_ird.curate.stages import decide
from million_ird.errors import ConfigError, InputError, OutputError
from million_ird.mirror import Mirror, Mounted, is_address, mounted
from million_ird.mirror.lease import take
from million_ird.pairs import degrade_dataset
from tests.conftest import SMALL
from tests.curate.test_build import digest

moto = pytest.importorskip("moto.server")
s3fs = pytest.importorskip("s3fs")
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")

KEY, SECRET = "AKIAOBJECTSTORETEST", "a-secret-that-is-nowhere-written-down"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def store() -> Iterator[int]:
    """An S3 server on loopback, found the way users give one: by the environment. Its port."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    _, port = server.get_host_and_port()
    given = {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in given.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        files().mkdir("datasets")
        yield port
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def files():
    return fsspec.filesystem("s3", use_listings_cache=False)


@pytest.fixture
def address(store, request, tmp_path, monkeypatch) -> str:
    """An address of the test's own; its last part is that of the folder to compare with, the title of the card."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return f"s3://datasets/{hashlib.sha256(request.node.name.encode()).hexdigest()[:8]}/out"


@pytest.fixture(scope="module")
def local(corpus, tmp_path_factory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("local") / "out"
    build([corpus], out, SMALL)
    return digest(out)


def names(address: str) -> set[str]:
    fs, root = fsspec.core.url_to_fs(address, use_listings_cache=False)
    return {path.removeprefix(f"{root}/") for path in fs.find(root)}


def there(address: str) -> dict[str, bytes]:
    """Everything at an address, by its path below it."""
    fs, root = fsspec.core.url_to_fs(address, use_listings_cache=False)
    return {name: fs.cat_file(f"{root}/{name}") for name in names(address)}


def results(address: str) -> dict[str, str]:
    wanted = {k: v for k, v in there(address).items() if k == "decisions.parquet" or k.startswith("dataset/")}
    return {name: hashlib.sha256(data).hexdigest() for name, data in wanted.items()}


def events(address: str, name: str) -> list[dict]:
    """Events of the last run of the command."""
    lines = [json.loads(line) for line in there(address)["run.jsonl"].splitlines()]
    return [line for line in lines if line["event"] == name and line["run"] == lines[-1]["run"]]


def settings(scratch: Path, **run) -> dict:
    return merge(SMALL, {"run": {"scratch": str(scratch), **run}})


def command(corpus: Path, address: str, config: Path, *more: str) -> list[str]:
    call = [sys.executable, "-m", "million_ird", "build", str(corpus), "--out", address]
    return [*call, "--config", str(config), "-q", *more]


def wait_for(there: Callable[[], bool], process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while not there() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)


def test_a_bucket_holds_the_same_bytes_as_a_folder_and_a_second_machine_has_nothing_to_do(
    corpus, local, address, tmp_path
):
    summary = build([corpus], address, settings(tmp_path / "one"))
    assert results(address) == local
    assert summary.out == address
    assert not any(name.startswith(("dataset.partial", ".mirror/lease")) for name in names(address))
    again = build([corpus], address, settings(tmp_path / "two"))
    assert again.up_to_date
    assert again.kept == summary.kept
    assert not list((tmp_path / "one").rglob("train-*.parquet")), "pixels stay in the bucket"


def test_nothing_of_the_credentials_is_in_any_file(corpus, address, tmp_path):
    build([corpus], address, settings(tmp_path / "scratch", workers=1))
    here = [path.read_bytes() for path in (tmp_path / "scratch").rglob("*") if path.is_file()]
    assert len(here) > 8
    assert not any(word.encode() in data for data in (*here, *there(address).values()) for word in (KEY, SECRET))


@pytest.mark.parametrize("kind", ["imagefolder", "webdataset"])
@pytest.mark.parametrize("protocol", ["memory", "file"])
def test_any_file_system_of_fsspec_holds_the_same_bytes_in_any_format(corpus, tmp_path, kind, protocol):
    out = tmp_path / "local" / "out"
    config = merge(settings(tmp_path / "scratch"), {"export": {"format": kind}})
    build([corpus], out, config)
    address = f"memory://{kind}/out" if protocol == "memory" else f"file://{tmp_path}/there/out"
    build([corpus], address, config)
    assert results(address) == digest(out)
    assert build([corpus], address, merge(config, {"run": {"scratch": str(tmp_path / "other")}})).up_to_date


@posix
@pytest.mark.parametrize(
    "moment",
    [
        "ledger/base/part-00001.parquet",
        *(pytest.param(later, marks=pytest.mark.slow) for later in ("dataset.partial", "dataset/data")),
    ],
)
def test_a_driver_killed_on_one_machine_goes_on_on_another(corpus, local, address, tmp_path, moment):
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(settings(tmp_path / "scratch", workers=1)))
    process = subprocess.Popen(command(corpus, address, config), start_new_session=True)
    wait_for(lambda: any(name.startswith(moment) for name in names(address)), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    parts = {name for name in names(address) if name.startswith("ledger/base/")}
    assert parts
    shutil.rmtree(tmp_path / "scratch")
    summary = build([corpus], address, settings(tmp_path / "scratch", lease_seconds=4.0))
    assert results(address) == local
    done = {f"ledger/base/part-{event['shard']:05d}.parquet" for event in events(address, "shard")}
    assert done.isdisjoint(parts), "a shard whose part was there was measured again"
    assert len(done) + len(parts) == 5
    assert summary.measured <= 17 - 4 * (len(parts) - 1)


def test_of_two_drivers_the_second_is_refused_and_a_dead_one_is_outwaited(address, tmp_path):
    first, second = Mirror(address, str(tmp_path / "a")), Mirror(address, str(tmp_path / "b"))
    held = take(first, "first", 2.0, lambda: None)
    waited: list[bool] = []
    with pytest.raises(OutputError, match=r"another mird run works here since 20.*; wait for it or choose another$"):
        take(second, "second", 2.0, lambda: waited.append(True))
    assert waited
    held.check()
    held._ended.set()  # as a kill would: no more renewals, and no release
    began = time.monotonic()
    other = take(second, "second", 2.0, lambda: None)
    assert 1.9 < time.monotonic() - began < 20
    assert names(address) == {".mirror/lease-00002"}
    other.release()
    assert names(address) == set()


def test_the_machine_of_a_killed_driver_need_not_wait(address, tmp_path):
    mirror = Mirror(address, str(tmp_path))
    take(mirror, "me", 600.0, lambda: None)._ended.set()
    began = time.monotonic()
    take(mirror, "me", 600.0, lambda: pytest.fail("it waits for itself")).release()
    assert time.monotonic() - began < 20


def test_who_was_taken_for_dead_and_is_not_writes_no_more(address, tmp_path):
    mirror = Mirror(address, str(tmp_path))
    sleeper = take(mirror, "sleeper", 0.4, lambda: None)
    mirror.put(".mirror/lease-00002", b"{}")
    deadline = time.monotonic() + 20
    while not sleeper._lost and time.monotonic() < deadline:
        time.sleep(0.02)
    with pytest.raises(OutputError, match="another mird run has taken over"):
        Mounted(mirror, sleeper).push(["plan.json"])
    sleeper.release()
    assert ".mirror/lease-00002" in names(address)


def test_another_policy_decides_again_there_and_the_next_build_writes_what_follows(corpus, address, tmp_path):
    build([corpus], address, settings(tmp_path / "one"))
    stricter = merge(settings(tmp_path / "two"), {"policy": {"blur": {"enabled": True, "min": 1e9}}})
    policy = as_config(stricter).policy
    decide(address, lambda stored: stored.model_copy(update={"policy": policy}))
    assert set(pq.read_table(copied(address, "decisions.parquet", tmp_path)).column("keep").to_pylist()) == {False}
    assert "dataset/README.md" in names(address), "deciding writes no dataset"
    summary = build([corpus], address, stricter)
    assert (summary.kept, summary.measured) == (0, 0)
    build([corpus], tmp_path / "folder" / "out", stricter)
    assert results(address) == digest(tmp_path / "folder" / "out")


def test_what_is_not_there_is_one_clear_line_and_leaves_nothing_behind(address):
    with pytest.raises(InputError, match=f"{address}: no build here; `mird build SOURCE --out {address}` makes one"):
        decide(address)
    assert names(address) == set()


def copied(address: str, name: str, folder: Path) -> Path:
    path = folder / f"copy-{Path(name).name}"
    path.write_bytes(files().cat_file(f"{address}/{name}"))
    return path


def test_an_output_file_that_would_be_the_same_is_copied_by_the_store_and_not_sent_again(
    corpus, local, address, tmp_path, monkeypatch
):
    build([corpus], address, settings(tmp_path / "one"))
    Mirror(address).drop(["state.json", "dataset/README.md"])
    monkeypatch.setattr("million_ird.curate.export.write_file", lambda *call: pytest.fail("written again"))
    build([corpus], address, settings(tmp_path / "two"))
    assert results(address) == local


def test_fresh_clears_the_address_of_what_a_build_put_there_and_of_nothing_else(corpus, local, address, tmp_path):
    build([corpus], address, merge(settings(tmp_path), {"policy": {"resolution": {"min_side": 4000}}}))
    files().pipe_file(f"{address}/notes.txt", b"mine")
    with pytest.raises(ConfigError, match=f"--out {address} holds a build with another configuration"):
        build([corpus], address, merge(settings(tmp_path), {"dedup": {"mode": "exact"}}))
    build([corpus], address, settings(tmp_path), fresh=True)
    assert results(address) == local
    assert there(address)["notes.txt"] == b"mine"
    assert len(events(address, "shard")) == 5


class Flaky(BaseHTTPRequestHandler):
    """Passes requests on to the store, but answers every fourth one 503."""

    port, count = 0, 0
    protocol_version = "HTTP/1.1"  # so that it answers `Expect: 100-continue`

    def answer(self) -> None:
        type(self).count += 1
        self.close_connection = True
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if type(self).count % 4 == 0:
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")
            self.end_headers()
            return
        onward = HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
        onward.request(self.command, self.path, body, headers)
        got = onward.getresponse()
        data = got.read()
        self.send_response(got.status)
        for name, value in got.getheaders():
            if name.lower() not in ("server", "date", "connection", "transfer-encoding"):
                self.send_header(name, value)
        if got.getheader("Content-Length") is None:
            self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)
        onward.close()

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = answer

    def log_message(self, *call: object) -> None:
        """Nothing."""


@pytest.fixture
def flaky(store, monkeypatch) -> Iterator[type[Flaky]]:
    """The store behind a gateway that fails every fourth request, and a client that tries none of them again itself."""
    Flaky.port, Flaky.count = store, 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Flaky)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr("million_ird.mirror.address.WAITS", (0.01,) * 5)
    s3fs.S3FileSystem.clear_instance_cache()
    yield Flaky
    s3fs.S3FileSystem.clear_instance_cache()
    server.shutdown()
    server.server_close()


def test_requests_that_fail_for_a_moment_are_sent_again(local, corpus, flaky, address, tmp_path):
    build([corpus], address, settings(tmp_path))
    assert flaky.count > 100
    assert results_through(address) == local


def results_through(address: str) -> dict[str, str]:
    """As `results`, patiently."""
    mirror = Mirror(address)
    wanted = [name for name in mirror.listed() if name == "decisions.parquet" or name.startswith("dataset/")]
    return {name: hashlib.sha256(mirror.read(name)).hexdigest() for name in wanted}


WRONG = {
    "s3://nobucket/x": "there is no bucket 'nobucket'; make it, or choose another",
    "s3://user:word@datasets/x": "--out s3://…: the address holds credentials or options",
    "s3://datasets/x?key=word": "--out s3://…: the address holds credentials or options",
    "s3://datasets/a/../b": "'..' means nothing in an address",
    "https://example.org/x": "cannot be written to; give a folder, s3://BUCKET/PATH or gs://BUCKET/PATH",
    "nonsense://x/y": "known are folders, s3:// and gs://",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_address_is_one_clear_line_without_secrets(store, corpus, tmp_path, wrong):
    with pytest.raises((ConfigError, OutputError)) as caught:
        build([corpus], wrong, settings(tmp_path / "scratch"))
    assert WRONG[wrong] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "word" not in str(caught.value)


def test_an_output_within_what_is_read_is_refused(store, tmp_path):
    with pytest.raises(ConfigError, match="lies in SOURCE s3://datasets/photos"):
        build(["s3://datasets/photos"], "s3://datasets/photos/out", settings(tmp_path))


def test_a_package_that_is_missing_is_named_with_the_command_that_brings_it(corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ConfigError, match=r'needs a package: pip install "million-ird\[gcs\]"$'):
        build([corpus], "gs://bucket/out", settings(tmp_path))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "check that the store answers"),
        (
            {
                "AWS_ACCESS_KEY_ID": "",
                "AWS_SECRET_ACCESS_KEY": "",
                "HOME": "/nowhere",
                "AWS_EC2_METADATA_DISABLED": "true",
            },
            "check the credentials",
        ),
    ],
)
def test_no_server_and_no_credentials_are_one_clear_line(store, corpus, tmp_path, given, said):
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(settings(tmp_path / "scratch")))
    environment = {**os.environ, **given, "AWS_MAX_ATTEMPTS": "1"}
    done = subprocess.run(
        command(corpus, "s3://datasets/never", config), env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert SECRET not in done.stderr


def test_credentials_that_the_store_refuses_are_one_clear_line(store, corpus, tmp_path):
    def checks_after(requests: str) -> None:
        server = HTTPConnection("127.0.0.1", store, timeout=30)
        server.request("POST", "/moto-api/reset-auth", requests)
        assert server.getresponse().status == 200
        server.close()

    checks_after("0")
    try:
        with pytest.raises(OutputError, match=r"cannot be read \(.*\); check the credentials") as caught:
            build([corpus], "s3://datasets/never", settings(tmp_path / "scratch"))
    finally:
        checks_after("inf")
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)
    assert SECRET not in str(caught.value)
    assert names("s3://datasets/never") == set()


@pytest.mark.parametrize("kind", ["parquet", "folder"])
def test_degrading_into_a_bucket_makes_the_same_pairs(corpus, address, tmp_path, kind):
    config = {"recipe": "denoise", "size": 64, "limit": 5, "format": kind, "shard_images": 2}
    out = tmp_path / "local" / "out"
    degrade_dataset(corpus, out, merge(config, {"run": {"workers": 0}}))
    run = {"workers": 0, "scratch": str(tmp_path / "one")}
    made = degrade_dataset(corpus, address, merge(config, {"run": run}))
    leave = ("run.jsonl", "plan.json", "plan.parquet", "degrade.yaml", "versions.json", ".mirror/writer", ".lock")
    here = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert {k: v for k, v in there(address).items() if k not in leave} == {
        k: v for k, v in here.items() if k not in leave
    }
    assert made.rendered == made.samples == 5
    again = degrade_dataset(corpus, address, merge(config, {"run": {**run, "scratch": str(tmp_path / "two")}}))
    assert again.up_to_date
    assert again.out == address


@pytest.mark.slow
@posix
def test_a_killed_degrade_goes_on_on_another_machine(corpus, address, tmp_path):
    config = {"recipe": "denoise", "size": 64, "per_image": 30, "shard_images": 1}
    run = {"workers": 1, "scratch": str(tmp_path / "scratch")}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**config, "run": run}))
    call = [sys.executable, "-m", "million_ird", "degrade", str(corpus), "--out", address, "-q"]
    process = subprocess.Popen([*call, "--config", str(tmp_path / "config.yaml")], start_new_session=True)
    wait_for(lambda: sum(name.startswith("partial/done/") for name in names(address)) > 1, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    ready = sum(name.startswith("partial/done/") for name in names(address))
    assert ready > 1
    shutil.rmtree(tmp_path / "scratch")
    made = degrade_dataset(corpus, address, {**config, "run": {**run, "workers": 0, "lease_seconds": 4.0}})
    assert made.rendered <= made.samples - 30 * (ready - 2), "what was ready was rendered again"
    degrade_dataset(corpus, tmp_path / "local" / "out", {**config, "run": {"workers": 0}})
    data = {path.name: path.read_bytes() for path in (tmp_path / "local" / "out" / "data").iterdir()}
    assert {name.removeprefix("data/"): v for name, v in there(address).items() if name.startswith("data/")} == data


@pytest.mark.slow
def test_what_came_from_the_web_is_kept_in_the_bucket_and_never_asked_for_twice(corpus, address, tmp_path):
    pytest.importorskip("aiohttp")
    from tests.curate.test_web import listed
    from tests.curate.test_web import settings as on_web
    from tests.sources.webserver import WebServer, file

    with WebServer() as web:
        urls = [web.add("a.test", f"/{path.name}", file(path.read_bytes())) for path in sorted(corpus.iterdir())]
        sources = [listed(tmp_path, urls)]
        build(sources, tmp_path / "local" / "out", on_web(web))
        config = on_web(web, run={"scratch": str(tmp_path / "one")})
        build(sources, address, config)
    tars = {name for name in names(address) if name.startswith("store/") and name.endswith(".tar")}
    assert tars
    assert not list((tmp_path / "one").rglob("store/*.tar")), "what was measured leaves the scratch"
    # The web is gone, and so is the machine: the dataset is written from the bucket.
    Mirror(address).drop(["state.json", "dataset/README.md", "cache/export.json"])
    build(sources, address, merge(config, {"run": {"scratch": str(tmp_path / "two")}}))
    same = digest(tmp_path / "local" / "out")
    found = results(address)
    assert found.keys() == same.keys()
    pixels = [
        [row["image"]["bytes"] for row in table.to_pylist()]
        for table in (
            pq.read_table(tmp_path / "local" / "out" / "dataset" / "data" / "train-00000-of-00001.parquet"),
            pq.read_table(copied(address, "dataset/data/train-00000-of-00001.parquet", tmp_path)),
        )
    ]
    assert pixels[0] == pixels[1] != []


@pytest.mark.slow
def test_explain_and_report_work_on_an_address_and_others_say_that_they_do_not(corpus, address, tmp_path):
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    build([corpus], address, settings(tmp_path / "one"))

    def mird(*call: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "million_ird", *call], env=environment, capture_output=True, text=True, timeout=120
        )

    told = mird("explain", address, "copy.png")
    assert "copy.png: dropped: exact_duplicate" in told.stdout, told.stderr
    assert mird("report", address).stdout.strip() == f"report: {address}/report.html"
    (tmp_path / "ids.txt").write_text("copy.png\n")
    refused = mird("remove", address, "--ids", str(tmp_path / "ids.txt"))
    assert refused.returncode == 1
    assert "this command works on folders of this machine" in refused.stderr


DRIVER = """
    import os, sys, yaml
    sys.path.insert(0, {root!r})
    from ray.cluster_utils import Cluster
    import ray
    cluster = Cluster(initialize_head=True, head_node_args={{"num_cpus": 0}})
    for name in ("one", "two"):
        cluster.add_node(num_cpus=1, env_vars={{"MIRD_TEST_NODE": name}})
    os.environ["MIRD_TEST_NODE"] = "driver"
    ray.init(address=cluster.address, log_to_driver=False)
    cluster.wait_for_nodes()
    from million_ird.curate import build
    from million_ird.pairs import degrade_dataset
    config = yaml.safe_load(open(sys.argv[3]))
    build([sys.argv[1]], sys.argv[2], config)
    del config["run"]["shard_size"]
    degrade_dataset(sys.argv[1], sys.argv[2] + "-pairs", {{"recipe": "denoise", "size": 64, "run": config["run"]}})
"""


@posix
@pytest.mark.slow
def test_ray_workers_that_share_no_disk_with_the_driver_make_the_same_dataset(corpus, local, address, tmp_path):
    pytest.importorskip("ray")
    config = settings(tmp_path / "$MIRD_TEST_NODE", workers=2, executor="ray", shard_size=1)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    code = textwrap.dedent(DRIVER.format(root=str(ROOT)))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(corpus), address, str(tmp_path / "config.yaml")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert results(address) == local
    scratch = {node: list((tmp_path / node).rglob("part-*.parquet")) for node in ("one", "two", "driver")}
    assert scratch["one"] and scratch["two"], "both nodes measured"
    assert len(scratch["one"]) < len(scratch["driver"]) == 17
    assert not list(tmp_path.glob("*/*/out/dataset.partial/*/data/*.parquet")), "files leave the machine when finished"
    degrade_dataset(corpus, tmp_path / "pairs" / "out-pairs", {"recipe": "denoise", "size": 64, "run": {"workers": 0}})
    data = {path.name: path.read_bytes() for path in (tmp_path / "pairs" / "out-pairs" / "data").iterdir()}
    found = there(address + "-pairs")
    assert {name.removeprefix("data/"): v for name, v in found.items() if name.startswith("data/")} == data


def test_paths_are_no_addresses():
    assert [is_address(text) for text in ("s3://a/b", "memory://x", "out/", "C:/out", "/a://b")] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_two_mounts_on_one_machine_are_refused_at_once(tmp_path):
    from million_ird.curate.remote import RULES

    with (
        mounted("memory://twice/out", str(tmp_path), 600.0, RULES),
        pytest.raises(OutputError, match="another mird run on this machine works here"),
        mounted("memory://twice/out", str(tmp_path), 600.0, RULES),
    ):
        pass
