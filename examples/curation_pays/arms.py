"""What `mird build` makes of the mixture, and the training sets that are compared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mixture import SHARES, TESTS, Mixture

FILTERS = (
    *("near_duplicate", "blur", "flat", "noise", "compression", "exposure"),
    *("border", "product", "upscaled", "watermark", "iqa"),
)
"""Rules that are switched off, one at a time. Resolution, exact copies and test pictures are none of quality."""
FEWEST = 0.03
"""Of what is kept: a filter that alone drops fewer cannot be seen in a score. Where several filters catch a planted
defect, none is seen by being off alone; then the defect is put back instead."""
SMALLEST = 180
"""px; photos of BSDS500 have 321."""
MARKED = 0.75
"""Score of a watermark; the preset spares more."""


@dataclass(frozen=True)
class Arm:
    """A training set.

    Attributes:
        name: unique.
        text: what it says of itself.
        pictures: file names to draw from.
        count: how many of them are trained on; where there are more, each seed draws its own.
    """

    name: str
    text: str
    pictures: tuple[str, ...]
    count: int

    def drawn(self, seed: int) -> list[str]:
        """The pictures that a seed trains on, sorted."""
        from million_ird.rng import rng_for

        order = sorted(self.pictures, key=lambda name: rng_for(seed, "curation pays", "drawn", name).random())
        return sorted(order[: self.count])


@dataclass(frozen=True)
class Curated:
    """What the build decided.

    Attributes:
        arms: the training sets; those that equal another are left out.
        small: filters that alone drop hardly any picture, and how many: others drop the same. They are not trained.
        caught: label -> (how many there are, reason -> how many dropped for it), test pictures aside.
        leaks: test pictures that were mixed in, and how many of them the contamination check found.
        innocent: other pictures that it took for test pictures.
    """

    arms: tuple[Arm, ...]
    small: dict[str, int]
    caught: dict[str, tuple[int, dict[str, int]]]
    leaks: tuple[int, int]
    innocent: tuple[str, ...]


def curate(mixture: Mixture, data: Path, out: Path) -> Curated:
    """Build once, decide once for each filter, and lay out the training sets; done once.

    Raises:
        MirdError: as `mird build`.
    """
    from million_ird.tables import read_json, write_json

    listed = out / "curated.json"
    found = read_json(listed)
    if not found:
        found = asdict(_curate(mixture, data, out))
        write_json(listed, found)
    return Curated(
        tuple(Arm(**{**arm, "pictures": tuple(arm["pictures"])}) for arm in found["arms"]),
        found["small"],
        {label: (count, reasons) for label, (count, reasons) in found["caught"].items()},
        (found["leaks"][0], found["leaks"][1]),
        tuple(found["innocent"]),
    )


def _curate(mixture: Mixture, data: Path, out: Path) -> Curated:
    from million_ird.curate.contaminated import make_list
    from million_ird.curate.settings import load_config
    from million_ird.curate.stages import build

    lists = []
    for name in TESTS:
        lists.append(str(out / f"{name}.parquet"))
        make_list([str(data / name)], name, lists[-1])
    policy: dict[str, Any] = {
        "resolution": {"min_side": SMALLEST},
        "watermark": {"max": MARKED},
        "contaminated": {"enabled": True, "sets": lists},
    }
    config = load_config(sets=[f"policy={json.dumps(policy)}", "run.workers=0"])
    build([mixture.folder], out / "build", config)
    dropped = {"": _reasons(out / "build")}
    for name in (name for name in FILTERS if getattr(config.policy, name).enabled):
        dropped[name] = _without(out / "build", name)
    return laid_out(mixture.labels, dropped, _test_pictures(out / "build"))


def laid_out(
    labels: Mapping[str, str], dropped: Mapping[str, Mapping[str, str]], contaminated: Sequence[str]
) -> Curated:
    """The training sets, from decisions alone.

    Args:
        labels: file -> what was planted, as in `Mixture`.
        dropped: filter that is off ("" = none is) -> file -> reason; files that are kept are left out.
        contaminated: files that the contamination check found. No arm has them, nor test pictures that it missed.
    """
    leaks = [name for name, label in labels.items() if label == "test picture"]
    gone = {*leaks, *contaminated}
    raw = sorted(set(labels) - gone)
    kept = [name for name in raw if name not in dropped[""]]
    count = len(kept)

    def arm(name: str, text: str, pictures: Sequence[str], most: int = count) -> Arm:
        return Arm(name, text, tuple(pictures), min(most, len(pictures)))

    arms = [
        arm("raw", "raw mixture, all of it", raw, len(raw)),
        arm("random", "random part of it, as many as are kept", raw),
        arm("kept", "kept by mird build", kept),
    ]
    small: dict[str, int] = {}
    back: set[str] = set()  # what is seen by the filter that alone drops it
    for off in (off for off in dropped if off):
        pictures = [name for name in raw if name not in dropped[off]]
        more = len(pictures) - count
        if more < FEWEST * count:
            small[off] = more
            continue
        arms.append(arm(f"without-{off}", f"kept with `{off}` off, as many", pictures))
        back.update(set(pictures) - set(kept))
    for label in SHARES:
        lost = [name for name in raw if labels[name] == label and name in dropped[""]]
        if len(lost) >= FEWEST * count and len(back.intersection(lost)) < len(lost) / 2:
            text = f"kept with all {label} ones put back, as many"
            arms.append(arm(f"with-{label}", text, [*kept, *lost]))
    known = [name for name in raw if not labels[name]]
    arms.append(arm("known", "clean photos alone, by their labels; as many or all", known))
    caught: dict[str, tuple[int, dict[str, int]]] = {}
    for label in dict.fromkeys(labels[name] for name in raw):
        mine = [name for name in raw if labels[name] == label]
        reasons: dict[str, int] = {}
        for name in mine:
            if name in dropped[""]:
                reasons[dropped[""][name]] = reasons.get(dropped[""][name], 0) + 1
        caught[label] = (len(mine), dict(sorted(reasons.items(), key=lambda one: -one[1])))
    innocent = sorted(set(contaminated) - set(leaks))
    return Curated(tuple(arms), small, caught, (len(leaks), len(set(leaks) & set(contaminated))), tuple(innocent))


def _without(out: Path, name: str) -> dict[str, str]:
    """What is dropped with one filter off."""
    from million_ird.curate.stages import decide

    decide(out, lambda config: _switched(config, name, False))
    found = _reasons(out)
    decide(out, lambda config: _switched(config, name, True))
    return found


def _switched(config: Any, name: str, on: bool) -> Any:
    rule = getattr(config.policy, name).model_copy(update={"enabled": on})
    return config.model_copy(update={"policy": config.policy.model_copy(update={name: rule})})


def _reasons(out: Path) -> dict[str, str]:
    """File -> why it is dropped."""
    import pyarrow.parquet as pq

    rows = pq.read_table(out / "decisions.parquet", columns=["uri", "keep", "reason"]).to_pylist()
    return {row["uri"]: row["reason"] for row in rows if not row["keep"]}


def _test_pictures(out: Path) -> list[str]:
    """Files in which the contamination check sees a test picture, whatever else is wrong with them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts = sorted((out / "ledger" / "base").glob("*.parquet"))
    table = pa.concat_tables([pq.read_table(part, columns=["uri", "contaminated"]) for part in parts])
    return sorted(row["uri"] for row in table.to_pylist() if (row["contaminated"] or 0) > 0)
