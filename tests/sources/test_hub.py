"""The Hub: what an address means is found by asking, at a fixed commit, and what cannot be had is said in one line.

The client is the real one; the Hub is a server on loopback.
"""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from million_ird.errors import InputError
from million_ird.sources.archive import TarSource
from million_ird.sources.files import FolderSource, RemoteFiles
from million_ird.sources.hub import HubSet, resolve_hub
from million_ird.sources.lists import ListSource
from million_ird.sources.rowfiles import RowSource
from tests.sources.hub_server import HubServer

pytest.importorskip("huggingface_hub")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path) -> Iterator[HubServer]:
    """An empty Hub that the real client takes for the Hub; nobody is logged in."""
    from huggingface_hub import HfFileSystem, constants

    with HubServer() as server:
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.endpoint + template)
        monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
        yield server
        HfFileSystem.clear_instance_cache()


def parquet(columns: dict) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, row_group_size=2)
    return out.getvalue()


def images(*data: bytes) -> bytes:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = [{"bytes": one, "path": "a.jpg"} for one in data]
    return parquet({"image": pa.array(cells, kind), "license": ["CC0"] * len(data)})


def tar(**members: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(f"{name}.jpg")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def read_all(found: HubSet) -> list[tuple[str, bytes]]:
    """URI and bytes of all that a part of a dataset holds, through the file system that a run uses."""
    files = RemoteFiles(found.protocol, found.root)
    source = (
        RowSource(found.label, files, found.paths)
        if found.kind == "rows"
        else TarSource(found.label, files, found.paths[0])
        if found.kind == "tar"
        else FolderSource(found.label, files, found.paths if found.kind == "files" else None)
    )
    out = [(item.uri, source.read(item)) for item in source.items(Counter())]
    source.close()
    return out


def test_tables_of_images_are_rows_at_the_commit_that_was_found(hub):
    files = {"data/train-00000-of-00002.parquet": images(b"one", b"two", b"three"), "README.md": b"x"}
    repo = hub.add("org/photos", {**files, "data/train-00001-of-00002.parquet": images(b"four")}, license="cc0-1.0")
    (found,) = resolve_hub("hf://datasets/org/photos")
    commit = repo.refs["main"]
    assert found == HubSet(
        "photos",
        "rows",
        f"datasets/org/photos@{commit}",
        ("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"),
        commit,
        "cc0-1.0",
    )
    repo.commit({"data/other.parquet": images(b"later")})
    assert [data for _, data in read_all(found)] == [b"one", b"two", b"three", b"four"]
    assert all(commit in request.path for request in hub.requests if "/resolve/" in request.path)


def test_only_what_is_needed_of_a_large_table_is_fetched(hub):
    big = images(*(os.urandom(200_000) for _ in range(100)))
    hub.add("org/big", {"a.parquet": big})
    (found,) = resolve_hub("hf://datasets/org/big")
    looked = sum(request.sent for request in hub.requests)
    assert looked < len(big) / 2
    source = RowSource("big", RemoteFiles("hf", found.root), found.paths)
    assert len(source.read(next(iter(source.items(Counter()))))) == 200_000
    source.close()


def test_tars_images_and_lists_are_what_they_are(hub):
    hub.add("org/shards", {"data/0.tar": tar(a=b"a1", b=b"b1"), "data/1.tar": tar(c=b"c1"), "README.md": b"x"})
    found = resolve_hub("hf://datasets/org/shards")
    assert [(part.kind, part.paths) for part in found] == [("tar", ("data/0.tar",)), ("tar", ("data/1.tar",))]
    assert [data for part in found for _, data in read_all(part)] == [b"a1", b"b1", b"c1"]

    odd = "train/50% off #1 @home é?.jpg"
    hub.add(
        "org/folder", {"train/1.jpg": b"1", odd: b"2", "test/3.png": b"3", ".gitattributes": b"", "m.csv": b"url\n"}
    )
    (found,) = resolve_hub("hf://datasets/org/folder/train")
    assert (found.kind, found.paths) == ("folder", ())
    assert read_all(found) == [("1.jpg", b"1"), (odd.removeprefix("train/"), b"2")]
    (found,) = resolve_hub("hf://datasets/org/folder/*/*.png")
    assert (found.kind, found.paths) == ("files", ("test/3.png",))
    assert read_all(found) == [("test/3.png", b"3")]

    rows = parquet({"URL": ["https://a.com/1.jpg", "https://a.com/2.jpg"], "WIDTH": [2000, 10]})
    hub.add(
        "org/urls", {"part-0.parquet": rows, "README.md": b"x", "notes.txt": b"no list", "stats.csv": b"n,mean\n1,2\n"}
    )
    (found,) = resolve_hub("hf://datasets/org/urls")
    assert (found.kind, found.paths) == ("list", ("part-0.parquet",))
    source = ListSource("urls", RemoteFiles("hf", found.root), found.paths, where="width >= 1024")
    assert [item.uri for item in source.items(Counter())] == ["https://a.com/1.jpg"]


def test_a_revision_is_pinned_whatever_it_is_called(hub):
    repo = hub.add("org/many", {"a.jpg": b"new"})
    old = repo.commit({"a.jpg": b"old"}, "v1.0")
    request = repo.commit({"b.jpg": b"pull request"}, "refs/pr/3")
    branch = repo.commit({"c.jpg": b"branch"}, "fix/colour")
    addresses = {"v1.0": old, "refs/pr/3": request, "fix%2Fcolour": branch, old: old}
    for name, commit in addresses.items():
        (found,) = resolve_hub(f"hf://datasets/org/many@{name}")
        assert found.commit == commit and found.root == f"datasets/org/many@{commit}"
        assert read_all(found) == [(path, data) for path, data in repo.commits[commit].items()]


def test_long_listings_come_in_pages(hub):
    hub.page = 7
    hub.add("org/long", {f"{number % 3}/{number:03d}.jpg": b"x" for number in range(40)})
    (found,) = resolve_hub("hf://datasets/org/long/**/*.jpg")
    assert len(found.paths) == 40 and found.paths[:2] == ("0/000.jpg", "0/003.jpg")


def test_what_cannot_be_had_is_one_clear_line(hub, monkeypatch):
    hub.add("org/secret", {"a.jpg": b"x"}, private=True)
    terms = hub.add("org/terms", {"a.jpg": b"x"}, gated=True)
    hub.add("org/text", {"README.md": b"x", "a.json": b"{}"})
    hub.add("org/packed", {"a.tar.gz": b"x"})
    hub.add("org/photos", {"a/b.jpg": b"x"})
    wrong = {
        "hf://datasets/org/nothing": "not found, or private",
        "hf://datasets/org/secret": "hf auth login",
        "hf://datasets/org/terms": f"accept its terms at {hub.endpoint}/datasets/org/terms",
        "hf://datasets/org/photos@v9": "no branch, tag or commit 'v9'",
        "hf://datasets/org/photos/c": "no such file or folder",
        "hf://datasets/org/photos/*.tif": "matches nothing",
        "hf://datasets/org/text": "holds no images",
        "hf://datasets/org/packed": "compressed",
        "hf://datasets/photos": "hf://datasets/ORG/NAME",
        "hf://org/model": "hf://datasets/ORG/NAME",
    }
    for address, words in wrong.items():
        with pytest.raises(InputError) as error:
            resolve_hub(address)
        assert words in str(error.value) and address in str(error.value) and "\n" not in str(error.value)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(InputError, match="does not accept the token") as error:
        resolve_hub("hf://datasets/org/secret")
    assert "hf_wrong" not in str(error.value)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert read_all(resolve_hub("hf://datasets/org/secret")[0]) == [("a.jpg", b"x")]
    with pytest.raises(InputError, match="gated"):
        resolve_hub("hf://datasets/org/terms")
    terms.allowed.add(hub.token)
    assert read_all(resolve_hub("hf://datasets/org/terms")[0]) == [("a.jpg", b"x")]
    hub.broken = 503
    with pytest.raises(InputError, match="the Hub answers 503; try again later"):
        resolve_hub("hf://datasets/org/photos")


def test_no_network_is_one_clear_line(hub, monkeypatch):
    from huggingface_hub import constants

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(InputError, match=r"127\.0\.0\.1:\d+ cannot be reached") as error:
            resolve_hub("hf://datasets/org/photos")
    assert "\n" not in str(error.value)


def test_a_missing_library_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r'pip install "million-ird\[train\]"'):
        resolve_hub("hf://datasets/org/photos")


def test_the_environment_is_obeyed_endpoint_and_offline_mode():
    code = (
        "import sys\nfrom million_ird.errors import InputError\nfrom million_ird.sources.hub import resolve_hub\n"
        "try:\n    print(resolve_hub(sys.argv[1])[0].kind)\nexcept InputError as error:\n    print(error)\n"
    )
    with HubServer() as hub:
        hub.add("org/photos", {"a.jpg": b"x"})
        for offline, answer in (("0", "folder"), ("1", "HF_HUB_OFFLINE is on")):
            env = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": offline}
            command = [sys.executable, "-c", code, "hf://datasets/org/photos"]
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=60)
            assert answer in done.stdout and done.stdout.count("\n") == 1
