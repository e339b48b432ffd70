"""How the field's benchmarks lie on disk as they are downloaded: one entry of `BENCHMARKS` per name.

A form is two patterns for paths below a root, without the suffix, in any case of letters. What their groups match is
the key: a degraded picture belongs to the clean one of the same key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Form:
    """One way in which a set is laid out.

    Attributes:
        lq: pattern of the degraded pictures; "" where there are none.
        hq: pattern of the clean pictures.
        shared: the clean pictures are those of all splits, so that some stay without a partner.
    """

    lq: str
    hq: str
    shared: bool = False


@dataclass(frozen=True)
class Benchmark:
    """A named set.

    Attributes:
        title: what it is.
        tree: what is expected below PATH, for people, in one line.
        forms: ways in which it is laid out; the first that fits is taken.
        roots: folders below PATH that hold it, by split; the first that fits is taken, PATH itself last.
        published: pairs (or pictures) as published, by split; 0 = no fixed number.
        notes: known leaks and pitfalls.
    """

    title: str
    tree: str
    forms: tuple[Form, ...]
    roots: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    published: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


_NAMED = Form(
    r"(?:input|lq|low|blur|blurry|hazy|rainy|rain|snow)/(.+)", r"(?:target|gt|hq|high|sharp|clear|norain)/(.+)"
)
_RAIN = r"rain-?0*(\d+)(?:x2)?"
_NUMBER = r"(?:no)?(?:rain-?)?0*(\d+)(?:x2)?"
_RAINY = (
    Form(rf"(?:rainy|input|lq)/{_NUMBER}", rf"(?:gt|target|hq)/{_NUMBER}"),
    Form(rf"rain/(?:X2/)?{_NUMBER}", rf"norain/{_NUMBER}"),
    Form(_RAIN, rf"no{_RAIN}"),
    _NAMED,
)
_RAIN_TREE = (
    "rainy/rain-1.png with gt/norain-1.png; or input/1.png with target/1.png; or rain-1.png with norain-1.png in one "
    "folder; or rain/X2/norain-1x2.png with norain/norain-1.png"
)
_HAZY = Form(
    r"(?:hazy|haze|input|synthetic|lq)/(?:part\d+/)?([^/_]+)_[^/]*", r"(?:gt|clear|clean|original|target|hq)/([^/_]+)"
)
_FLAT = (Form("", r"([^/]+)"),)
_BSD = "a part of BSDS500: train on BSD400 or CBSD432, which leave it out, never on all of BSDS500"
_RAIN_BSD = "the clean pictures are of the Berkeley set (BSD): training on BSD pictures shows them to the network"
_LOL = "LOLv1's training set holds test pictures of LOLv2-real: a network trained on LOLv1 has seen them"


def _split(test: str, train: str) -> dict[str, tuple[str, ...]]:
    return {"test": tuple(test.split()), "train": tuple(train.split())}


BENCHMARKS: Mapping[str, Benchmark] = {
    "rain100l": Benchmark(
        "Rain100L, light rain: 100 pairs to test on, 200 to train on",
        _RAIN_TREE,
        _RAINY,
        _split(
            "test rain100L/test test/rain100L rain_data_test_light rain100L",
            "train rain100L/train RainTrainL train/rain100L rain_data_train_light rain100L",
        ),
        {"test": 100, "train": 200},
        (_RAIN_BSD, "several copies circulate that score differently: keep the download you compare with"),
    ),
    "rain100h": Benchmark(
        "Rain100H, heavy rain: 100 pairs to test on, 1,800 to train on",
        _RAIN_TREE,
        _RAINY,
        _split(
            "test rain100H/test test/rain100H rain_heavy_test rain_data_test_heavy rain100H",
            "train rain100H/train RainTrainH train/rain100H rain_heavy_train rain_data_train_heavy rain100H",
        ),
        {"test": 100, "train": 1800},
        (_RAIN_BSD, "546 of the 1,800 training pairs show the background of a test picture (Ren et al., CVPR 2019)"),
    ),
    "sots": Benchmark(
        "SOTS of RESIDE, outdoor: 500 hazy pictures; several may share one clean picture",
        "hazy/0001_0.8_0.2.jpg with gt/0001.png (or input/ and target/), in outdoor/ or in PATH itself",
        (_HAZY, _NAMED),
        {"": ("outdoor", "SOTS/outdoor", "SOTS", "test")},
        {"": 500},
    ),
    "ots": Benchmark(
        "OTS of RESIDE-beta: 72,135 hazy pictures, 35 for each of 2,061 clean ones, to train on",
        "synthetic/part1/0005_0.8_0.04.jpg with original/0005.jpg (or hazy/ and clear/)",
        (_HAZY,),
        {"": ("OTS_beta", "OTS", "train")},
        {"": 72135},
    ),
    "gopro": Benchmark(
        "GoPro (Nah et al., CVPR 2017): 1,111 blurred frames to test on, 2,103 to train on",
        "test/SCENE/blur/000001.png with test/SCENE/sharp/000001.png; or input/NAME.png with target/NAME.png",
        (Form(r"([^/]+)/blur/(.+)", r"([^/]+)/sharp/(.+)"), _NAMED),
        _split("test GOPRO_Large/test test/GoPro GoPro/test GoPro", "train GOPRO_Large/train train/GoPro GoPro/train"),
        {"test": 1111, "train": 2103},
    ),
    "hide": Benchmark(
        "HIDE (Shen et al., ICCV 2019): 2,025 blurred frames to test on",
        "test/test-close-ups/1.png and test/test-long-shot/2.png with GT/1.png; or input/1.png with target/1.png",
        (
            Form(r"test/(?:[^/]+/)?([^/]+)", r"GT/(?:[^/]+/)?([^/]+)", shared=True),
            _NAMED,
        ),
        {"": ("HIDE_dataset", "HIDE", "test/HIDE", "test")},
        {"": 2025},
    ),
    "lolv1": Benchmark(
        "LOL v1, real low light: 15 pairs to test on, 485 to train on",
        "eval15/low/1.png with eval15/high/1.png; our485/low and our485/high to train on",
        (_NAMED,),
        _split("eval15 LOLdataset/eval15 LOL/eval15 test", "our485 LOLdataset/our485 LOL/our485 train"),
        {"test": 15, "train": 485},
        (_LOL, "15 test pictures: half a dB is within chance"),
    ),
    "lolv2": Benchmark(
        "LOL v2, real captures: 100 pairs to test on, 689 to train on",
        "Real_captured/Test/Low/low00690.png with Real_captured/Test/Normal/normal00690.png (Train/ to train on)",
        (Form(r"low/(?:low)?(.+)", r"normal/(?:normal)?(.+)"), _NAMED),
        _split(
            "Real_captured/Test LOL-v2/Real_captured/Test LOLv2/Real_captured/Test Test",
            "Real_captured/Train LOL-v2/Real_captured/Train LOLv2/Real_captured/Train Train",
        ),
        {"test": 100, "train": 689},
        (_LOL,),
    ),
    "bsd68": Benchmark(
        "BSD68, grey: 68 clean pictures",
        "68 images in PATH, original_png/ or BSD68/",
        _FLAT,
        {"": ("original_png", "original", "BSD68", "gt")},
        {"": 68},
        (_BSD, "Rain100L and Rain100H are made of BSD pictures too"),
    ),
    "cbsd68": Benchmark(
        "CBSD68, colour: 68 clean pictures",
        "68 images in PATH, original_png/ or CBSD68/",
        _FLAT,
        {"": ("original_png", "original", "CBSD68", "BSD68", "gt")},
        {"": 68},
        (_BSD, "Rain100L and Rain100H are made of BSD pictures too"),
    ),
    "urban100": Benchmark(
        "Urban100: 100 clean pictures of buildings",
        "100 images in PATH or HR/; or image_SRF_4/img_001_SRF_4_HR.png, of which only *_HR is taken",
        (Form("", r"([^/]+)_HR"), *_FLAT),
        {"": ("HR", "original", "image_SRF_4", "image_SRF_2", "Urban100/HR", "Urban100/image_SRF_4", "Urban100")},
        {"": 100},
    ),
    "wed": Benchmark(
        "Waterloo Exploration Database: 4,744 clean pictures to train on",
        "pristine_images/00001.bmp, or the images in PATH itself",
        _FLAT,
        {
            "": (
                "pristine_images",
                "WaterlooExploration/pristine_images",
                "exploration_database_and_code/pristine_images",
            )
        },
        {"": 4744},
    ),
    "snow100k": Benchmark(
        "Snow100K (Liu et al., 2018): test set L (large flakes), 16,801 pairs; 50,000 to train on",
        "Snow100K-L/synthetic/NAME.jpg with Snow100K-L/gt/NAME.jpg (all/ or train/ to train on); give the folder "
        "Snow100K-S or Snow100K-M itself to take another test set",
        (Form(r"synthetic/(.+)", r"gt/(.+)"), _NAMED),
        _split("Snow100K-L test/Snow100K-L test", "all train Snow100K-training/all"),
        {"test": 16801, "train": 50000},
    ),
    "cdd11": Benchmark(
        "CDD-11 of OneRestore (Guo et al., ECCV 2024): 11 single and mixed degradations of each clean picture",
        "CDD-11_test/haze_rain/00001.png (and haze, low, rain, snow, ...) with CDD-11_test/clear/00001.png",
        (Form(r"(?:(?:low_)?(?:haze|rain|snow|haze_rain|haze_snow)|low)/([^/]+)", r"clear/([^/]+)"),),
        _split("CDD-11_test CDD-11/test test", "CDD-11_train CDD-11/train train"),
        {"test": 2200, "train": 13013},
    ),
    "pairs": Benchmark(
        "any pairs: lq/ and hq/ with the same names, or the same stems",
        "lq/NAME.png with hq/NAME.png, in subfolders too",
        (Form(r"lq/(.+)", r"hq/(.+)"),),
        _split("test val", "train"),
    ),
    "clean": Benchmark(
        "any clean pictures, to be degraded by a recipe or by noise",
        "images in PATH and in folders below it",
        (Form("", r"(.+)"),),
    ),
}
