"""`--dry-run`: what a build would take, by a sample of it, and what that costs by the prices of the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from million_ird.config import merge
from million_ird.curate import build
from million_ird.curate.estimate import estimate
from million_ird.errors import ConfigError, InputError
from tests.conftest import SMALL
from tests.curate.test_merge import QUICK, rows

FREE = dict.fromkeys(("core_hour", "gpu_hour", "gb_fetched", "gb_month"), 0)


def priced(**prices: float) -> dict:
    return merge(QUICK, {"run": {f"price_per_{name}": value for name, value in {**FREE, **prices}.items()}})


def test_where_the_sample_is_all_there_is_it_says_what_the_build_then_does(corpus: Path, tmp_path: Path) -> None:
    found = estimate([corpus], QUICK)
    done = build([corpus], tmp_path / "out", QUICK)
    copies = done.reasons["exact_duplicate"] + done.reasons["near_duplicate"]
    assert (found.inputs, found.sampled) == (17, 17)
    assert done.kept <= found.kept <= done.kept + copies
    data = sum(path.stat().st_size for path in (tmp_path / "out" / "dataset" / "data").iterdir())
    assert found.dataset_bytes / found.kept == pytest.approx(data / done.kept, rel=0.2)
    ledger = sum(path.stat().st_size for path in (tmp_path / "out" / "ledger" / "base").iterdir())
    assert 0 < found.ledger_bytes < ledger, "the file's own head and foot are not counted again and again"
    assert found.seconds > 0 and found.export_seconds > 0 and found.memory_bytes > 150_000_000
    assert found.machine_hours == pytest.approx((found.seconds + found.export_seconds) * found.workers / 3600)


def test_all_is_in_proportion_to_the_number_of_inputs(corpus: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for copy in range(6):
        (photos / str(copy)).mkdir(parents=True)
        for path in corpus.iterdir():
            (photos / str(copy) / path.name).write_bytes(path.read_bytes())
    few, many = estimate([photos / "0"], QUICK), estimate([photos], QUICK)
    assert (many.inputs, many.sampled) == (6 * few.inputs, 24)
    assert many.input_bytes == 6 * few.input_bytes
    for name in ("kept", "dataset_bytes", "ledger_bytes"):
        assert getattr(many, name) == pytest.approx(6 * getattr(few, name), rel=0.4)


def test_money_is_hours_and_bytes_by_the_price_table(corpus: Path) -> None:
    assert estimate([corpus], priced()).money == 0
    by_hour = estimate([corpus], priced(core_hour=100))
    assert by_hour.money == pytest.approx(100 * by_hour.machine_hours)
    by_byte = estimate([corpus], priced(gb_month=1000))
    assert by_byte.money == pytest.approx((by_byte.dataset_bytes + by_byte.ledger_bytes) / 1e6)
    with pytest.raises(ConfigError, match=r"run\.price_per_gpu_hour"):
        estimate([corpus], priced(gpu_hour=-1))


def test_what_ledgers_hold_costs_no_measuring(corpus: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, names in ((one, ("00.png", "01.jpg", "02.webp")), (two, ("03.png", "04.jpg"))):
        folder.mkdir()
        for name in names:
            (folder / name).write_bytes((corpus / name).read_bytes())
    done = build([one], tmp_path / "a", QUICK)
    found = estimate([], ledgers=[tmp_path / "a"], out=tmp_path / "new")
    assert (found.inputs, found.taken, found.sampled, found.seconds, found.ledger_bytes) == (3, 3, 0, 0, 0)
    assert found.kept == done.kept == sum(row["keep"] for row in rows(tmp_path / "a"))
    assert found.export_seconds > 0 and found.dataset_bytes > 0
    more = estimate([two], ledgers=[tmp_path / "a"], out=tmp_path / "new")
    assert (more.inputs, more.taken, more.sampled) == (5, 3, 2)
    assert not (tmp_path / "new").exists()
    with pytest.raises(InputError, match="that is the folder to work in"):
        estimate([], ledgers=[tmp_path / "a"], out=tmp_path / "a")


def test_a_build_of_nothing_good_is_estimated_too(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "no.jpg").write_text("no picture")
    found = estimate([tmp_path / "photos"], SMALL)
    assert (found.inputs, found.kept, found.dataset_bytes) == (1, 0, 0)
    assert found.statuses == {"unsupported": 1}


@pytest.mark.slow
def test_a_pass_costs_time_for_each_picture_that_is_kept(corpus: Path, tmp_path: Path) -> None:
    pytest.importorskip("open_clip", reason="the CLIP pass needs the extra `clip`")
    from tests.curate.test_passes import PROMPTS, clip_folder

    asked = {"enabled": True, "model": str(clip_folder(tmp_path / "clip")), "device": "cpu", "scores": PROMPTS}
    found = estimate([corpus], merge(QUICK, {"passes": {"clip": asked}}))
    assert found.pass_seconds["clip"] > 0 and found.gpu_hours == 0
    assert found.machine_hours > (found.seconds + found.export_seconds) * found.workers / 3600
