"""Lists of URLs: every row becomes an item, a counted row or an item that says why not; no row ends a run."""

from __future__ import annotations

import json
import random
import tracemalloc
from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from million_ird.errors import ConfigError, InputError
from million_ird.sources.batches import columns_of, is_image_table, is_list
from million_ird.sources.files import LocalFiles
from million_ird.sources.lists import ListSource
from million_ird.sources.prefilter import parse
from million_ird.sources.seen import Seen, hashes_of


@pytest.fixture
def listed(tmp_path):
    """A function that writes a list and gives its items and what was passed over."""

    def listed(name: str, content: str | bytes | pa.Table, **options):
        if isinstance(content, pa.Table):
            pq.write_table(content, tmp_path / name, row_group_size=options.pop("group", 1000))
        else:
            (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        skipped: Counter[str] = Counter()
        return list(ListSource("list", LocalFiles(str(tmp_path)), [name], **options).items(skipped)), dict(skipped)

    return listed


def metas(items) -> list[dict]:
    return [json.loads(item.meta) if item.meta else {} for item in items]


ROWS = [
    {"url": "https://a.com/1.jpg", "width": 2000, "caption": 'a "good", one', "license": "CC0"},
    {"url": "https://a.com/2.jpg", "width": 500, "caption": "two\nlines", "license": "CC-BY"},
    {"url": "https://a.com/1.jpg", "width": 2000, "caption": "again", "license": "CC0"},
    {"url": "https://a.com/3.jpg", "width": None, "caption": "Zoë", "license": None},
]


def as_file(kind: str) -> str | pa.Table:
    if kind == "parquet":
        return pa.Table.from_pylist(ROWS)
    if kind in ("jsonl", "ndjson"):
        return "\n".join(json.dumps(row) for row in ROWS)
    sign = {"csv": ",", "tsv": "\t"}[kind]
    cells = [['"' + str("" if v is None else v).replace('"', '""') + '"' for v in row.values()] for row in ROWS]
    return "\ufeff" + "\r\n".join(sign.join(row) for row in [list(ROWS[0]), *cells]) + "\r\n"


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "ndjson", "parquet"])
def test_every_format_gives_the_same_urls_and_metadata(listed, kind):
    items, skipped = listed(f"list.{kind}", as_file(kind))
    assert [item.uri for item in items] == [f"https://a.com/{number}.jpg" for number in (1, 2, 3)]
    assert all(item.source == "list" and item.path == b"" and not item.status for item in items)
    assert skipped == {"URL again": 1}
    number = str if kind in ("csv", "tsv") else int
    assert metas(items) == [
        {"width": number(2000), "caption": 'a "good", one', "licence": "CC0"},
        {"width": number(500), "caption": "two\nlines", "licence": "CC-BY"},
        {"caption": "Zoë"},
    ]
    assert items[0].meta == json.dumps(metas(items)[0], sort_keys=True, ensure_ascii=False)
    kept, skipped = listed(f"list.{kind}", as_file(kind), where='width >= 1024 and licence == "CC0"')
    assert [item.uri for item in kept] == ["https://a.com/1.jpg"]
    assert skipped == {'where: width >= 1024 and licence == "CC0"': 2, "URL again": 1}


def test_a_text_file_is_one_url_a_line(listed):
    text = "\ufeff# comment\nhttps://a.com/1.jpg\r\n\n  HTTPS://A.com/2.jpg#part  \nhttps://a.com/2.jpg\n"
    items, skipped = listed("list.txt", text)
    assert [item.uri for item in items] == ["https://a.com/1.jpg", "https://a.com/2.jpg"]
    assert skipped == {"URL again": 1} and not items[0].meta


def test_what_is_no_address_is_an_item_that_says_why(listed):
    rows = ["", "photo.jpg", "//a.com/1.jpg", "http://", "file:///etc/passwd", "data:image/png;base64,AAAA"]
    rows += ["http://a.com:22/1.jpg", "http://[::1/1.jpg", "http://a.com:99999/", f"http://a.com/{'x' * 9000}"]
    items, _ = listed("list.csv", "n,url\n" + "\n".join(f'{n},"{url}"' for n, url in enumerate(rows)))
    assert [(item.status, item.detail.partition(":")[0]) for item in items] == [
        ("fetch_failed", "bad_url"),
        ("fetch_failed", "bad_url"),
        ("fetch_failed", "bad_url"),
        ("fetch_failed", "bad_url"),
        ("blocked", "scheme"),
        ("blocked", "scheme"),
        ("blocked", "blocked"),
        ("fetch_failed", "bad_url"),
        ("fetch_failed", "bad_url"),
        ("fetch_failed", "bad_url"),
    ]
    assert items[0].uri == "list.csv::0" and len({item.key for item in items}) == len(items)
    assert max(len(item.uri) for item in items) < 300
    assert metas(items)[4] == {"n": "4"}


def test_rows_without_a_url_are_told_apart_by_their_place_in_the_list(listed):
    table = pa.table({"url": ["https://a.com/1.jpg", None, None] * 5000, "w": list(range(15000))})
    items, skipped = listed("list.parquet", table, where="w != 4")
    bad = [item.uri for item in items if item.status]
    assert len(bad) == 9999 and bad[:3] == ["list.parquet::1", "list.parquet::2", "list.parquet::5"]
    assert bad[-1] == "list.parquet::14999" and skipped["URL again"] == 4999


def test_urls_are_written_down_canonically_and_each_once_in_all_lists(listed):
    seen = Seen()
    urls = [
        "HTTP://user:pw@A.COM/a b?x=1#f",
        "http://a.com/a b?x=1",
        "http://a.com/é.jpg",
        "http://a.com/?",
        "http://a.com",
    ]
    items, skipped = listed("list.jsonl", "\n".join(json.dumps({"url": url}) for url in urls), seen=seen)
    assert [item.uri for item in items] == [
        "http://a.com/a b?x=1",
        "http://a.com/é.jpg",
        "http://a.com/",
        "http://a.com",
    ]
    assert skipped == {"URL again": 1}
    items, skipped = listed("other.txt", "http://a.com/é.jpg\nhttp://a.com/new.jpg", seen=seen)
    assert [item.uri for item in items] == ["http://a.com/new.jpg"] and skipped == {"URL again": 1}


def test_broken_rows_of_a_csv_are_counted_and_cost_no_others(listed):
    good = [f"https://a.com/{number}.jpg,text {number}" for number in range(300)]
    rows = list(good)
    rows[10:10] = ["https://a.com/short.jpg"]
    rows[20:20] = ["https://a.com/long.jpg,a,b"]
    rows[30:30] = ['https://a.com/open.jpg,"never closed']
    rows[100:100] = ['https://a.com/said.jpg,"Hello" he said']
    items, skipped = listed("list.csv", "url,text\n" + "\n".join(rows) + "\n\n")
    assert skipped == {"row that cannot be read": 2}
    assert {item.uri for item in items} == {row.partition(",")[0] for row in good} | {
        "https://a.com/open.jpg",
        "https://a.com/said.jpg",
    }
    assert not any(item.status for item in items)


def test_bytes_that_are_no_text_end_no_run(listed):
    items, _ = listed("list.csv", b"url,text\nhttps://a.com/1.jpg,caf\xe9\0\nhttps://a.com/2.jpg,ok\n")
    assert metas(items) == [{"text": "caf\ufffd\0"}, {"text": "ok"}]
    lines = [
        b'{"url": "https://a.com/1.jpg", "t": "\\ud800 x", "f": NaN, "i": 1e999}',
        b"{broken",
        b"[1]",
        b"[" * 99_999,
    ]
    lines += [b'{"url": 5}', b'{"t": 1}', b'{"url": "https://a.com/2.jpg", "deep": ' + b"[" * 500 + b"]" * 500 + b"}"]
    items, skipped = listed("list.jsonl", b"\n".join([*lines, b'"text"']))
    assert skipped == {"row that cannot be read": 5}
    assert [item.uri for item in items] == ["https://a.com/1.jpg", "5", "list.jsonl::2"]
    assert metas(items)[0] == {"t": "? x"}
    raw = pa.array([b"https://a.com/1.jpg"]), pa.array([b"caf\xe9"])
    unchecked = [pa.Array.from_buffers(pa.string(), 1, array.buffers()) for array in raw]
    items, _ = listed("list.parquet", pa.table(dict(zip(("url", "text"), unchecked, strict=True))))
    assert metas(items) == [{"text": "caf\ufffd"}]


def test_a_line_without_end_is_never_held(listed):
    long = b'https://a.com/long.jpg,"' + b"x" * (40 << 20)
    tracemalloc.start()
    items, skipped = listed("list.csv", b"url,t\nhttps://a.com/1.jpg,a\n" + long + b"\nhttps://a.com/2.jpg,b\n")
    peak = tracemalloc.get_traced_memory()[1] - len(long)
    tracemalloc.stop()
    assert [item.uri for item in items] == ["https://a.com/1.jpg", "https://a.com/2.jpg"]
    assert skipped == {"row that cannot be read": 1} and peak < 80 << 20


def test_metadata_of_any_type_are_json(listed):
    table = pa.table(
        {
            "URL": pa.array(["https://a.com/1.jpg", "https://a.com/2.jpg"], pa.large_string()),
            "f": pa.array([0.1, float("nan")], pa.float32()),
            "g": [1.0, float("inf")],
            "flag": [True, None],
            "when": [date(2024, 2, 3), None],
            "tags": [["a", None], []],
            "nested": [{"b": b"x", "t": 'q"\\', "n": float("nan")}, None],
            "raw": [b"bytes", b"bytes"],
            "text": ['tab\t "quoted" \\ é \u2028', ""],
            "cat": pa.array(["x", "y"]).dictionary_encode(),
            "none": pa.nulls(2),
            "Creator": ["Ann", None],
            "artist": ["Bob", "Cy"],
        }
    )
    items, _ = listed("list.parquet", table)
    assert metas(items) == [
        {
            "f": 0.1,
            "g": 1.0,
            "flag": True,
            "when": "2024-02-03",
            "tags": ["a"],
            "nested": {"t": 'q"\\'},
            "text": 'tab\t "quoted" \\ é \u2028',
            "cat": "x",
            "author": "Ann",
            "artist": "Bob",
        },
        {"tags": [], "text": "", "cat": "y", "artist": "Cy"},
    ]
    assert items[0].meta == json.dumps(metas(items)[0], sort_keys=True, ensure_ascii=False)
    assert type(metas(items)[0]["g"]) is float


def test_the_column_of_urls_is_found_named_or_asked_for(listed):
    for name in ("URL", "image_url", "contentUrl", "src", " Link "):
        items, _ = listed("list.csv", f"id,{name}\n7,https://a.com/1.jpg\n")
        assert items[0].uri == "https://a.com/1.jpg" and metas(items) == [{"id": "7"}]
    items, _ = listed("list.csv", "url,big\nhttps://a.com/s.jpg,https://a.com/b.jpg\n", url_column="big")
    assert items[0].uri == "https://a.com/b.jpg" and metas(items) == [{"url": "https://a.com/s.jpg"}]
    with pytest.raises(InputError, match=r"columns: id, address; .*--set sources.url_column=NAME"):
        listed("list.csv", "id,address\n1,https://a.com/1.jpg\n")
    with pytest.raises(InputError, match=r"no column 'big' \(sources.url_column\); columns: id, url"):
        listed("list.csv", "id,url\n1,https://a.com/1.jpg\n", url_column="big")
    with pytest.raises(InputError, match="first line must name the columns"):
        listed("list.csv", "https://a.com/1.jpg,x\nhttps://a.com/2.jpg,y\n")
    with pytest.raises(InputError, match="is empty"):
        listed("list.csv", "")
    with pytest.raises(InputError, match="UTF-16"):
        listed("list.tsv", "url\tx\n".encode("utf-16"))
    with pytest.raises(InputError, match="holds no text"):
        listed("list.parquet", pa.table({"url": [["https://a.com/1.jpg"]]}))
    with pytest.raises(InputError, match=r"gone\.csv: cannot be read: No such file"):
        list(ListSource("list", LocalFiles("."), ["gone.csv"]).items(Counter()))


def test_a_damaged_table_gives_its_good_rows_and_an_item(listed, tmp_path):
    urls = [f"https://a.com/{random.Random(number).random()}.jpg" for number in range(3000)]
    listed("list.parquet", pa.table({"url": urls}))
    whole = (tmp_path / "list.parquet").read_bytes()
    start = pq.ParquetFile(tmp_path / "list.parquet").metadata.row_group(1).column(0).dictionary_page_offset
    items, _ = listed("list.parquet", whole[:start] + bytes(2000) + whole[start + 2000 :])
    assert [item.uri for item in items[:-1]] == urls[: len(items) - 1]
    assert items[-1].status == "unreadable" and items[-1].uri == "list.parquet::?"
    items, _ = listed("list.parquet", whole[:5000])
    assert [(item.uri, item.status) for item in items] == [("list.parquet::?", "unreadable")]


def test_lists_and_tables_of_images_are_told_apart(tmp_path):
    files = LocalFiles(str(tmp_path))
    image = pa.array([{"bytes": b"x", "path": "x.jpg"}])
    noted = json.dumps({"info": {"features": {"a": {"_type": "Audio"}, "p": {"_type": "Image"}}}})
    tables = {
        "struct.parquet": (pa.table({"photo": image, "url": ["u"]}), ["photo"]),
        "plain.parquet": (pa.table({"jpg": [b"x"], "key": ["k"]}), ["jpg"]),
        "noted.parquet": (pa.table({"a": image, "p": [b"x"]}).replace_schema_metadata({"huggingface": noted}), ["p"]),
        "list.parquet": (pa.table({"image": ["https://a.com/1.jpg"], "hash": [b"x"]}), []),
    }
    for name, (table, images) in tables.items():
        pq.write_table(table, tmp_path / name)
        assert columns_of(files, name).images == images
        assert is_image_table(files, name) == bool(images)
        assert is_list(columns_of(files, name)) == (name == "list.parquet")
    for name, text in {"a.txt": "# x\nhttps://a.com/1.jpg", "a.csv": "url\n1", "a.jsonl": '{"x": 1, "url": 2}'}.items():
        (tmp_path / name).write_text(text)
        assert is_list(columns_of(files, name)) and not is_image_table(files, name)
    for name, text in {"b.txt": "hello", "b.csv": "", "b.jsonl": "[]", "b.parquet": "x"}.items():
        (tmp_path / name).write_text(text)
        assert columns_of(files, name) == ([], [])


TABLE = pa.table(
    {
        "width": ["1024", " 2000 ", "+3e3", None, "abc"],
        "n": [1, 2, 3, 4, None],
        "nsfw": ["False", "true", "0", None, "UNLIKELY"],
        "flag": [True, False, None, True, False],
        "p": [0.1, float("nan"), None, 0.5, 1.0],
        "lang": ["en", "de", "fr", None, "en"],
        "my col": [1, 2, 3, 4, 5],
        "day": [date(2020, 1, 1), date(2021, 1, 1), None, None, None],
    }
)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("width >= 2000", "01100"),
        ("width < n", "00000"),
        ("width > my_width", None),
        ("not nsfw", "10100"),
        ("nsfw == False", "10100"),
        ("nsfw", "01000"),
        ("flag", "10010"),
        ("not flag", "01001"),
        ("flag == 1", "10010"),
        ("p < 0.3", "10000"),
        ("not p < 0.3", "00011"),
        ("p is None", "01100"),
        ("p is not None and LANG == 'en'", "10001"),
        ('lang in ("en", "de")', "11001"),
        ('lang not in ("en", "de")', "00100"),
        ("lang in ()", "00000"),
        ("n in (1, '2')", "11000"),
        ("1 < n <= 3", "01100"),
        ('col("my col") != 2 and n == n', "10110"),
        ("lang == 'fr' or p > -1 and True", "10111"),
        ("width == '1024.0'", "10000"),
        ("day >= '2020-06-01'", "01000"),
        ("lang < 'f'", "11001"),
    ],
)
def test_a_condition_means_what_it_says_and_what_is_missing_fails(text, rows):
    if rows is None:
        with pytest.raises(ConfigError, match=r"no column 'my_width'; .*columns: width, n, nsfw"):
            parse(text).mask(TABLE)
        return
    assert "".join(str(int(kept)) for kept in parse(text).mask(TABLE)) == rows


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("width >", "character"),
        ("open('x') == 1", "'open('x')' at character 1"),
        ("é > 1 and x.y > 2", "'x.y' at character 11"),
        ("x + 1 > 2", "'x + 1' at character 1"),
        ("x == None", "`is None`"),
        ("x is 3", "`is` goes with"),
        ("x in y", "values in brackets"),
        ("'text'", "expected a comparison"),
        ("1 < 2", "names no column"),
        ("[x for x in y]", "at character 1"),
        ("x if y else z", "at character 1"),
        ("not " * 2000 + "x", "where"),
        ("x" * 20_000, "longer than"),
    ],
)
def test_anything_but_a_condition_is_refused_with_its_place(text, place):
    with pytest.raises(ConfigError) as error:
        parse(text)
    assert place in str(error.value) and "\n" not in str(error.value)


def test_a_misspelt_column_gets_the_nearest_one(listed):
    with pytest.raises(ConfigError, match=r"no column 'widht'; did you mean 'width'\? columns: url, width"):
        listed("list.parquet", pa.Table.from_pylist(ROWS), where="widht > 3")
    with pytest.raises(ConfigError, match="at character"):
        ListSource("list", LocalFiles("."), [], where="width >> 3")


def test_seen_is_a_set():
    rng = np.random.default_rng(0)
    seen, known = Seen(), set()
    for _ in range(300):
        batch = rng.integers(0, 20_000, rng.integers(0, 400)).astype(np.uint64) << np.uint64(45)
        expected = []
        for value in batch.tolist():
            expected.append(value not in known)
            known.add(value)
        assert seen.new(batch).tolist() == expected
    assert len(seen) == len(known)
    assert len(set(hashes_of(f"https://a.com/{number}" for number in range(1000)).tolist())) == 1000


def test_seen_takes_eight_bytes_an_entry():
    rng = np.random.default_rng(0)
    seen = Seen()
    tracemalloc.start()
    for _ in range(100):
        seen.new(rng.integers(0, 1 << 64, 20_000, dtype=np.uint64))
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(seen) == 2_000_000 and held < 17_000_000 and peak < 60_000_000


def test_a_long_list_is_never_held_whole(tmp_path: Path):
    urls = [f"https://a.com/{number}/{'x' * 200}.jpg" for number in range(100_000)]
    pq.write_table(pa.table({"url": urls, "text": urls}), tmp_path / "list.parquet", row_group_size=100_000)
    del urls
    before = pa.total_allocated_bytes()
    most = 0
    for _ in ListSource("list", LocalFiles(str(tmp_path)), ["list.parquet"]).items(Counter()):
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 40_000_000
