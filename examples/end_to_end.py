"""The parts of end_to_end.sh that are no `mird` command: photos to begin with, a Hub on loopback, and the check.

    python examples/end_to_end.py photos FOLDER     FOLDER/photos.parquet, /clean and /noisy (held out of training)
    python examples/end_to_end.py hub FILE          serve an empty Hub until killed; its address goes into FILE
    python examples/end_to_end.py check FOLDER      load what was published, and compare it with what was made

The photos are those that scikit-image and scikit-learn carry, each with the licence under which they are published
there, so that what is built from them may go out. `check` exits 1 where anything that came back is another.
"""

from __future__ import annotations

import hashlib
import json
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the Hub of the tests

from examples.demo import encoded, motion_blur, noisy  # noqa: E402

RGB = NDArray[np.uint8]
SIDE = 192
"""Of the crops, px."""
DATASET, MODEL = "local/crops", "local/dynet-tiny"
"""Repositories on the local Hub."""
TOKEN = "hf_local"
"""What the local Hub takes for a token; end_to_end.sh gives it to the client."""
LICENCES = {
    "astronaut": ("public domain", "NASA"),
    "rocket": ("public domain", "SpaceX"),
    "coffee": ("CC0 1.0", "Rachel Michetti"),
    "cat": ("CC0 1.0", "Stefan van der Walt"),
    "china": ("CC BY 2.0", "danielbuechele"),
    "flower": ("CC BY 2.0", "vultilion"),
}
"""Photo -> its licence and author, as scikit-image and scikit-learn state them."""


def photos() -> dict[str, RGB]:
    """Real photographs, (H, W, 3) uint8."""
    return {
        "astronaut": data.astronaut(),
        "rocket": data.rocket(),
        "coffee": data.coffee(),
        "cat": data.chelsea(),
        "china": load_sample_image("china.jpg"),
        "flower": load_sample_image("flower.jpg"),
    }


def crops(image: RGB) -> list[RGB]:
    """Squares of SIDE px on a grid without overlap."""
    height, width = image.shape[:2]
    tops, lefts = range(0, height - SIDE + 1, SIDE), range(0, width - SIDE + 1, SIDE)
    return [np.ascontiguousarray(image[top : top + SIDE, left : left + SIDE]) for top in tops for left in lefts]


def begin(folder: Path) -> int:
    """Write the photos; the cat and the cup are held out, to be denoised in the end."""
    whole = photos()
    rows: list[tuple[str, bytes, str]] = []
    for name in ("astronaut", "rocket", "china", "flower"):
        rows += [(f"{name}-{i}.png", encoded(crop, "PNG"), name) for i, crop in enumerate(crops(whole[name]))]
    good, flower, rocket = len(rows), whole["flower"][100:400, 200:500], whole["rocket"][60:360, 150:450]
    rows += [
        ("copy.png", rows[0][1], "astronaut"),
        ("near.jpg", encoded(crops(whole["china"])[0], "JPEG", quality=80), "china"),
        ("blurred.png", encoded(motion_blur(np.ascontiguousarray(flower)), "PNG"), "flower"),
        ("noisy.png", encoded(noisy(np.ascontiguousarray(rocket)), "PNG"), "rocket"),
        ("cut.jpg", encoded(whole["rocket"], "JPEG", quality=95)[:20_000], "rocket"),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {
        "image": pa.array([{"bytes": content, "path": name} for name, content, _ in rows], kind),
        "license": [LICENCES[photo][0] for *_, photo in rows],
        "artist": [LICENCES[photo][1] for *_, photo in rows],
    }
    pq.write_table(pa.table(columns), folder / "photos.parquet")
    for name in ("coffee", "cat"):
        for part, picture in (("clean", whole[name]), ("noisy", noisy(whole[name]))):
            (folder / part).mkdir(exist_ok=True)
            Image.fromarray(picture).save(folder / part / f"{name}.png")
    print(f"{len(rows)} pictures: {good} good crops, {len(rows) - good} with defects; 2 photos held out")
    return 0


def serve(address: Path) -> int:
    """A Hub on loopback, until this process is told to end."""
    from tests.sources.hub_server import HubServer

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with HubServer(TOKEN) as hub:
        partial = address.with_suffix(".part")
        partial.write_text(hub.endpoint)
        partial.rename(address)
        signal.pause()
    return 0


def check(folder: Path) -> int:
    """Load both back from the Hub, and say of each promise whether it is kept; 1 where one is not."""
    kept = {row["id"] for row in pq.read_table(folder / "build" / "decisions.parquet").to_pylist() if row["keep"]}
    said = [*dataset_promises(kept), *model_promises(folder), *score_promises(folder)]
    for good, words in said:
        print(f"{'ok    ' if good else 'WRONG '} {words}")
    return 0 if all(good for good, _ in said) else 1


def dataset_promises(kept: set[str]) -> list[tuple[bool, str]]:
    """What `datasets` gets from the Hub, whole and streamed, against what was decided."""
    from datasets import Image as Picture
    from datasets import load_dataset
    from huggingface_hub import HfApi

    rows: Any = load_dataset(DATASET, split="train")
    streamed: list[Any] = list(load_dataset(DATASET, split="train", streaming=True))
    same = all(
        np.array_equal(np.asarray(a["image"]), np.asarray(b["image"])) for a, b in zip(rows, streamed, strict=True)
    )
    # An id is the hash of the file that went in, and this build stores files as they were.
    stored = rows.cast_column("image", Picture(decode=False))
    hashes = {hashlib.sha256(row["image"]["bytes"]).hexdigest() for row in stored}
    return [
        (bool(HfApi().dataset_info(DATASET).private), f"{DATASET} is private"),
        ({row["id"] for row in rows} == kept, f"load_dataset gives the {len(kept)} rows that the build kept"),
        (hashes == kept, "and the very bytes of each picture"),
        (same and len(streamed) == len(kept), "streamed, it gives the same pictures"),
        (all(json.loads(row["meta"])["licence"] for row in rows), "every row names its licence"),
    ]


def model_promises(folder: Path) -> list[tuple[bool, str]]:
    """What `models.load` gets from the Hub, against the network of the run and what it restored."""
    import torch
    from huggingface_hub import HfApi, ModelCard

    from million_ird import models
    from million_ird.restore import restore

    here, there = models.load(folder / "run" / "model"), models.load(MODEL)
    tensors = zip(here.state_dict().values(), there.state_dict().values(), strict=True)
    again = []
    for path in sorted((folder / "noisy").iterdir()):
        picture = restore(there, np.asarray(Image.open(path)))
        again.append(np.array_equal(picture, np.asarray(Image.open(folder / "restored" / path.name))))
    return [
        (bool(HfApi().model_info(MODEL).private), f"{MODEL} is private"),
        (all(torch.equal(a, b) for a, b in tensors), "models.load gives the weights that were trained"),
        (all(again) and len(again) == 2, "and restores the held-out photos to the same pictures"),
        (bool(getattr(ModelCard.load(MODEL).data, "eval_results", None)), "its card holds the scores of `mird eval`"),
    ]


def score_promises(folder: Path) -> list[tuple[bool, str]]:
    """What was learnt, in dB on photos that were not trained on."""
    (found,) = json.loads((folder / "eval.json").read_text())["sets"]
    before, after = (found["mean"][side]["psnr"] for side in ("input", "output"))
    return [(after > before, f"held-out photos, noise 25: {before:.2f} dB before, {after:.2f} dB after")]


if __name__ == "__main__":
    does = {"photos": begin, "hub": serve, "check": check}
    if len(sys.argv) != 3 or sys.argv[1] not in does:
        sys.exit(__doc__)
    sys.exit(does[sys.argv[1]](Path(sys.argv[2])))
