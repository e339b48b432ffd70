"""Sources: everything that is there becomes an item, in a fixed order, and nothing leaves its root."""

from __future__ import annotations

import io
import json
import os
import socket
import sys
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from million_ird.errors import BadImage, InputError
from million_ird.sources import Listing, Reader, SourceSpec, resolve
from tests.sources import test_hub

hub = test_hub.hub


@pytest.fixture
def listed():
    """A function from sources to their items, what was passed over, and a reader that is closed at the end."""
    readers = []

    def listed(*sources: str | Path, leave_out: str = ""):
        skipped: Counter[str] = Counter()
        specs = resolve([str(source) for source in sources])
        readers.append(Reader(specs))
        return [item for spec in specs for item in spec.open(leave_out).items(skipped)], skipped, readers[-1]

    yield listed
    for reader in readers:
        reader.close()


def make_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_a_folder_is_listed_in_sorted_order_with_hidden_files_counted(listed, tmp_path):
    for name in ("b/2.jpg", "a.jpg", "b/1.jpg", ".hidden", ".git/x", ".git/y", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    items, skipped, reader = listed(tmp_path)
    assert [item.uri for item in items] == ["a.jpg", "b/1.jpg", "b/2.jpg", "notes.txt"]
    assert skipped == {"hidden": 3}
    assert [reader.read(item) for item in items] == [item.uri.encode() for item in items]
    assert all(item.source == tmp_path.name and item.size == len(item.uri) for item in items)


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need rights on Windows")
def test_no_symbolic_link_leaves_its_root(listed, tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root / "sub", outside):
        folder.mkdir(parents=True)
    (outside / "secret.jpg").write_bytes(b"secret")
    (root / "sub" / "real.jpg").write_bytes(b"real")
    (root / "1-out.jpg").symlink_to(outside / "secret.jpg")
    (root / "2-in.jpg").symlink_to(root / "sub" / "real.jpg")
    (root / "3-gone.jpg").symlink_to(root / "nothing")
    (root / "4-loop").symlink_to(root, target_is_directory=True)
    (root / "5-outdir").symlink_to(outside, target_is_directory=True)
    items, skipped, reader = listed(root)
    assert {item.uri: item.status for item in items} == {
        "1-out.jpg": "blocked",
        "2-in.jpg": "",
        "3-gone.jpg": "blocked",
        "sub/real.jpg": "",
    }
    assert "leaves the source folder" in items[0].detail
    assert skipped == {"linked folder": 2}
    assert reader.read(items[1]) == b"real"


def test_the_output_folder_is_not_its_own_source(listed, tmp_path):
    (tmp_path / "out").mkdir()
    for name in ("a.jpg", "out/b.jpg"):
        (tmp_path / name).write_bytes(b"x")
    items, skipped, _ = listed(tmp_path, leave_out=str((tmp_path / "out").resolve()))
    assert [item.uri for item in items] == ["a.jpg"]
    assert skipped == {"output folder": 1}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes such names")
def test_a_name_that_is_no_utf8_is_printable_and_still_readable(listed, tmp_path):
    name = b"caf\xe9.jpg"
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"latin")
    items, _, reader = listed(tmp_path)
    assert items[0].uri == "caf\\xe9.jpg"
    items[0].uri.encode("utf-8")
    assert reader.read(items[0]) == b"latin"


def test_one_image_a_glob_and_several_sources_together(listed, tmp_path):
    for name in ("x/1.jpg", "x/2.png", "y/3.jpg", "z/4.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    make_tar(tmp_path / "y" / "a.tar", {"5.jpg": b"5"})
    items, _, reader = listed(tmp_path / "x" / "1.jpg", tmp_path / "*" / "3*", tmp_path / "y" / "*.tar", tmp_path / "z")
    assert [(item.source, item.uri) for item in items] == [
        ("x", "1.jpg"),
        (tmp_path.name, "y/3.jpg"),
        ("a.tar", "a.tar::5.jpg"),
        ("z", "4.jpg"),
    ]
    assert [reader.read(item) for item in items] == [b"x/1.jpg", b"y/3.jpg", b"5", b"z/4.jpg"]
    assert len({item.key for item in items}) == len(items)


def test_folders_of_the_same_name_have_labels_and_keys_of_their_own(listed, tmp_path):
    for parent in ("one", "two"):
        (tmp_path / parent / "photos").mkdir(parents=True)
        (tmp_path / parent / "photos" / "a.jpg").write_bytes(b"x")
    items, _, _ = listed(tmp_path / "one" / "photos", tmp_path / "two" / "photos")
    assert [item.source for item in items] == ["photos", "photos-2"]
    assert items[0].key != items[1].key


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_archive_members_are_read_in_place_and_evil_ones_are_blocked(listed, tmp_path, make):
    path = make(
        tmp_path / f"a.{make.__name__[5:]}", {"ok/1.jpg": b"one", "../evil.jpg": b"e", "/etc/x": b"p", "._2.jpg": b"h"}
    )
    items, skipped, reader = listed(path)
    assert {item.uri: item.status for item in items} == {
        f"{path.name}::ok/1.jpg": "",
        f"{path.name}::../evil.jpg": "blocked",
        f"{path.name}::/etc/x": "blocked",
    }
    assert skipped == {"hidden": 1}
    assert reader.read(items[0]) == b"one"
    assert reader.read(items[0], 2) == b"on"


def test_links_in_a_tar_are_blocked(listed, tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, kind in (("sym.jpg", tarfile.SYMTYPE), ("hard.jpg", tarfile.LNKTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    items, _, _ = listed(tmp_path / "a.tar")
    assert [item.status for item in items] == ["blocked", "blocked"]


def test_in_a_webdataset_tar_sidecars_are_metadata(listed, tmp_path):
    path = make_tar(
        tmp_path / "w.tar",
        {
            "000/1.jpg": b"one",
            "000/1.json": json.dumps({"licence": "CC0", "width": 10}).encode(),
            "000/1.txt": b"a caption\n",
            "000/2.jpg": b"two",
            "README.txt": b"no image shares this key",
        },
    )
    items, skipped, _ = listed(path)
    assert [item.uri for item in items] == ["w.tar::000/1.jpg", "w.tar::000/2.jpg", "w.tar::README.txt"]
    assert json.loads(items[0].meta) == {"licence": "CC0", "width": 10, "txt": "a caption"}
    assert items[1].meta == ""
    assert skipped == {"metadata of an image": 2}


def test_members_of_the_same_name_are_told_apart(listed, tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for data in (b"first", b"second"):
            member = tarfile.TarInfo("x.jpg")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    items, _, reader = listed(tmp_path / "a.tar")
    assert [item.uri for item in items] == ["a.tar::x.jpg", "a.tar::x.jpg#2"]
    assert [reader.read(item) for item in items] == [b"first", b"second"]


def test_a_cut_tar_gives_what_is_whole_and_says_what_is_lost(listed, tmp_path):
    path = make_tar(tmp_path / "a.tar", {f"{n}.jpg": bytes([n]) * 2000 for n in range(5)})
    path.write_bytes(path.read_bytes()[: 512 * 5 * 2 + 700])
    items, _, reader = listed(path)
    good = [item for item in items if not item.status]
    assert [item.uri for item in good] == [f"a.tar::{n}.jpg" for n in range(3)]
    assert [reader.read(item) for item in good[:2]] == [bytes([n]) * 2000 for n in range(2)]
    with pytest.raises(BadImage, match="archive ends"):
        reader.read(good[2])
    assert [item.status for item in items if item.status] == ["truncated"]


def test_broken_archives_are_one_row_each(listed, tmp_path):
    for name in ("a.tar", "b.zip"):
        (tmp_path / name).write_bytes(b"no archive at all" * 100)
        items, _, _ = listed(tmp_path / name)
        assert [item.status for item in items] == ["unreadable"]
    damaged = make_zip(tmp_path / "c.zip", {"1.jpg": os.urandom(5000)})
    data = bytearray(damaged.read_bytes())
    data[1000:1100] = bytes(100)
    damaged.write_bytes(bytes(data))
    items, _, reader = listed(damaged)
    with pytest.raises(BadImage, match="archive member"):
        reader.read(items[0])


def test_an_fsspec_address_reads_folders_files_globs_and_archives(listed, tmp_path):
    fs = fsspec.filesystem("memory")
    fs.pipe("/mird/in/a.jpg", b"a")
    fs.pipe("/mird/in/sub/b.jpg", b"b")
    fs.pipe("/mird/in/.hidden", b"h")
    fs.pipe("/mird/w.tar", make_tar(tmp_path / "w.tar", {"t.jpg": b"t"}).read_bytes())
    fs.pipe("/mird/w.zip", make_zip(tmp_path / "w.zip", {"z.jpg": b"z"}).read_bytes())
    try:
        items, skipped, reader = listed(
            "memory://mird/in", "memory://mird/w.tar", "memory://mird/w.zip", "memory://mird/in/*.jpg"
        )
        assert [item.uri for item in items] == ["a.jpg", "sub/b.jpg", "w.tar::t.jpg", "w.zip::z.jpg", "a.jpg"]
        assert [reader.read(item) for item in items] == [b"a", b"b", b"t", b"z", b"a"]
        assert skipped == {"hidden": 1}
        assert len({item.key for item in items}) == len(items)
    finally:
        fs.rm("/mird", recursive=True)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing", "no such file or folder"),
        ("missing/*.jpg", "matches nothing"),
        ("nonsense://x", "cannot read this kind"),
        ("https://example.org/", "read by `mird build` alone"),
        ("memory://nowhere/at/all", "no such file or folder"),
    ],
)
def test_what_cannot_be_a_source_is_one_clear_line(tmp_path, source, message):
    with pytest.raises(InputError, match=message) as caught:
        resolve([source if "://" in source else str(tmp_path / source)])
    assert "\n" not in str(caught.value)


def test_a_pattern_means_each_file_by_what_it_holds(listed, tmp_path):
    cells = pa.array([{"bytes": b"row", "path": None}], pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    for number in range(2):
        pq.write_table(pa.table({"image": cells}), tmp_path / f"rows-{number}.parquet")
    pq.write_table(pa.table({"url": ["https://example.org/1.jpg"]}), tmp_path / "urls.parquet")
    (tmp_path / "more.txt").write_text("https://example.org/2.jpg\n")
    (tmp_path / "a.jpg").write_bytes(b"file")
    (tmp_path / "notes.txt").write_text("see https://example.org/ for more\n")
    (tmp_path / "labels.csv").write_text("image,label\na.jpg,cat\n")
    specs = resolve([str(tmp_path / "*")], listing=Listing())
    assert {spec.kind: spec.paths for spec in specs} == {
        "files": ("a.jpg", "labels.csv", "notes.txt"),
        "rows": ("rows-0.parquet", "rows-1.parquet"),
        "list": ("more.txt", "urls.parquet"),
    }
    assert len({spec.label for spec in specs}) == 3
    (lists,) = resolve([str(tmp_path / "*.[tc][xs]*")], listing=Listing())
    assert (lists.kind, lists.paths) == ("list", ("labels.csv", "more.txt", "notes.txt"))
    with pytest.raises(InputError, match="read by `mird build` alone"):
        resolve([str(tmp_path / "*.txt")])
    items, _, reader = listed(tmp_path / "rows-*")
    assert [(item.uri, reader.read(item)) for item in items] == [
        ("rows-0.parquet::0", b"row"),
        ("rows-1.parquet::0", b"row"),
    ]


def test_a_source_named_twice_is_refused(tmp_path):
    with pytest.raises(InputError, match="given twice"):
        resolve([str(tmp_path), str(tmp_path)])


def test_compressed_tars_are_refused_with_the_remedy(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(b"x")
    with pytest.raises(InputError, match="repack"):
        resolve([str(tmp_path / "a.tar.gz")])


def test_a_vanished_file_is_a_bad_image_not_a_crash(listed, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    items, _, reader = listed(tmp_path)
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(BadImage) as caught:
        reader.read(items[0])
    assert caught.value.status == "unreadable"


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_a_vanished_archive_is_one_clear_line_and_its_members_are_bad_images(listed, tmp_path, make):
    path = make(tmp_path / f"a.{make.__name__[5:]}", {"1.jpg": b"one"})
    items, _, reader = listed(path)
    (spec,) = resolve([str(path)])
    path.unlink()
    with pytest.raises(BadImage, match="unreadable: archive cannot be read: No such file"):
        reader.read(items[0])
    with pytest.raises(InputError, match=rf"{path.name}: cannot be read: No such file"):
        list(spec.open().items(Counter()))


def test_a_lost_network_is_one_clear_line_when_listing_and_a_bad_image_when_reading(hub, monkeypatch, tmp_path):
    from huggingface_hub import HfFileSystem, constants

    data = {
        "a.tar": make_tar(tmp_path / "a.tar", {"1.jpg": b"1"}).read_bytes(),
        "a.zip": make_zip(tmp_path / "a.zip", {"1.jpg": b"1"}).read_bytes(),
        "a/1.jpg": b"1",
        "a.parquet": test_hub.images(b"1"),
    }
    root = f"datasets/org/set@{hub.add('org/set', data).refs['main']}"
    specs = [
        SourceSpec("tar", "tar", "hf", root, ("a.tar",)),
        SourceSpec("zip", "zip", "hf", root, ("a.zip",)),
        SourceSpec("folder", "folder", "hf", f"{root}/a"),
        SourceSpec("files", "files", "hf", root, ("a/1.jpg",)),
        SourceSpec("rows", "rows", "hf", root, ("a.parquet",)),
    ]
    items = [item for spec in specs for item in spec.open().items(Counter())]
    assert len(items) == 5 and not any(item.status for item in items)
    with Reader(specs) as reader:
        assert [reader.read(item) for item in items] == [b"1"] * 5
    HfFileSystem.clear_instance_cache()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(hub.endpoint, address)
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        for spec, item in zip(specs, items, strict=True):
            with pytest.raises(InputError, match=r"cannot be read: .*refused") as caught:
                list(spec.open().items(Counter()))
            assert "\n" not in str(caught.value)
            with Reader([spec]) as reader, pytest.raises(BadImage, match=r"unreadable: .*cannot be read: .*refused"):
                reader.read(item)
