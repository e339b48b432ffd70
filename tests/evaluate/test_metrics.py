"""Metrics: the numbers that scikit-image and pyiqa give, for any size, and errors that say what was wrong."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from million_ird.errors import ConfigError
from million_ird.evaluate import metrics
from million_ird.evaluate.iqa import niqe


def pictures(photo):
    target = photo[100:371, 60:360] / 255.0  # 271 rows: more than a band, and an odd number
    chance = np.random.default_rng(0)
    return target, {
        "noise": np.clip(target + chance.normal(0, 25 / 255, target.shape), 0, 1),
        "blur": np.clip(cv2.GaussianBlur(target, (0, 0), 2), 0, 1),
        "dark": target * 0.5,
        "other": target[::-1, ::-1],
    }


@pytest.mark.parametrize("name", ["noise", "blur", "dark", "other"])
def test_psnr_and_ssim_are_those_of_scikit_image(photo, name):
    judge = pytest.importorskip("skimage.metrics")
    target, outputs = pictures(photo)
    output = outputs[name]
    wang = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    found = metrics.score(output, target, list(metrics.METRICS))
    assert found["psnr"] == pytest.approx(judge.peak_signal_noise_ratio(target, output, data_range=1), abs=1e-4)
    uniform = judge.structural_similarity(target, output, data_range=1, channel_axis=2)
    gaussian = judge.structural_similarity(target, output, data_range=1, channel_axis=2, **wang)
    assert found["ssim_uniform7"] == pytest.approx(uniform, abs=1e-6)
    assert found["ssim_gaussian11"] == pytest.approx(gaussian, abs=1e-6)
    grey = pytest.importorskip("skimage.color").rgb2ycbcr
    one, other = (grey(picture)[..., 0] / 255 for picture in (output, target))
    assert found["psnr_y"] == pytest.approx(judge.peak_signal_noise_ratio(other, one, data_range=1), abs=1e-4)
    assert found["ssim_y"] == pytest.approx(judge.structural_similarity(other, one, data_range=1, **wang), abs=1e-6)


@pytest.mark.parametrize("size", [(11, 11), (11, 40), (257, 12), (266, 13), (267, 13), (522, 11)])
def test_ssim_is_the_same_in_bands(size):
    judge = pytest.importorskip("skimage.metrics")
    chance = np.random.default_rng(0)
    target, output = chance.random((*size, 3)), chance.random((*size, 3))
    wanted = judge.structural_similarity(target, output, data_range=1, channel_axis=2)
    assert metrics.ssim(output, target, "uniform7") == pytest.approx(wanted, abs=1e-9)
    wang = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    wanted = judge.structural_similarity(target, output, data_range=1, channel_axis=2, **wang)
    assert metrics.ssim(output, target) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("name", ["noise", "blur", "dark"])
def test_psnr_and_ssim_are_those_of_pyiqa(photo, name):
    pyiqa = pytest.importorskip("pyiqa", exc_type=ImportError)
    torch = pytest.importorskip("torch")
    target, outputs = pictures(photo)
    output = np.rint(outputs[name] * 255) / 255  # pyiqa rounds to 8 bits before SSIM
    both = [torch.from_numpy(one.transpose(2, 0, 1)[None].astype(np.float32)) for one in (output, target)]
    assert metrics.psnr(output, target) == pytest.approx(float(pyiqa.create_metric("psnr")(*both)), abs=1e-4)
    assert metrics.ssim(output, target) == pytest.approx(float(pyiqa.create_metric("ssimc")(*both)), abs=1e-4)


def test_equal_pictures_are_perfect(photo):
    picture = photo / 255.0
    assert math.isinf(metrics.psnr(picture, picture))
    assert metrics.ssim(picture, picture) == 1
    assert metrics.ssim(picture, picture, "uniform7") == pytest.approx(1)


def test_luma_keeps_the_studio_swing():
    ends = metrics.luma(np.array([[[0.0, 0, 0], [1, 1, 1]]]))
    assert ends[0] * 255 == pytest.approx([16, 235])


def test_names_are_kept_as_they_were_asked_for(photo):
    target = photo / 255.0
    found = metrics.score(target * 0.9, target, ("ssim", "psnr"))
    assert list(found) == ["ssim", "psnr"]
    assert found["ssim"] == metrics.ssim_gaussian11(target * 0.9, target)


def test_wrong_calls_are_refused():
    picture = np.zeros((10, 30, 3))
    with pytest.raises(ConfigError, match="metric psnrr: unknown; known: psnr, ssim_uniform7"):
        metrics.score(picture, picture, ("psnrr",))
    with pytest.raises(ValueError, match="needs 11 px"):
        metrics.ssim(picture, picture)
    with pytest.raises(ValueError, match="one size"):
        metrics.psnr(picture, picture[:, :-1])


def test_niqe_is_the_builds_and_prefers_the_photo_to_noise(photo):
    from million_ird.meters import Frame
    from million_ird.meters.niqe import Niqe

    target, outputs = photo / 255.0, pictures(photo)[1]
    (wanted,) = Niqe(blocks=None)(Frame(photo))
    assert metrics.metric("niqe")(target, target) == wanted
    noisy = np.clip(target + np.random.default_rng(0).normal(0, 0.1, target.shape), 0, 1)
    score = niqe()(noisy, target)
    assert score is not None
    assert wanted is not None
    assert score > wanted
    assert niqe().lower_better
    assert niqe()(outputs["noise"][:90, :90], target) is None


def test_pyiqa_is_asked_for_by_name_and_its_absence_has_a_remedy(monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pyiqa is not installed: pip install \"million-ird\[iqa\]\""):
        metrics.metric("pyiqa:lpips")
