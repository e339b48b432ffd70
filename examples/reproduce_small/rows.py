"""What is compared: test sets, the rows of each table, what the papers say of them, and the targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trainings import FIVE, KINDS, NEW, RANKS, THREE, recipe_of

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Pictures:
    """A test set: clean pictures and what degrades them, drawn from each picture's name.

    Attributes:
        folder: below --data.
        task: the adapter that is meant for it; "" = none or several.
        limit: the first so many pictures; 0 = all.
        recipe: name or file; "" = Gaussian noise.
        sigma: of the noise, grey levels.
        megapixels: of one picture.
    """

    folder: str
    task: str
    limit: int
    recipe: str = ""
    sigma: float | None = None
    megapixels: float = 0.154


def _sets(suffix: str, limit: int, tasks: Sequence[str], folder: str = "cbsd68") -> dict[str, Pictures]:
    size = 0.393 if folder == "kodak24" else 0.154
    noise = {f"denoise{suffix}": Pictures(folder, "denoise", limit, sigma=25, megapixels=size)}
    rest = {f"{task}{suffix}": Pictures(folder, task, limit, recipe_of(task), megapixels=size) for task in tasks}
    return {name: one for name, one in {**rest, **noise}.items() if one.task in tasks}


def _mixed(name: str) -> Pictures:
    return Pictures("cbsd68", "", 6, str(HERE / "recipes" / f"{name}.yaml"))


MIXED = ("blur-noise", "blur-jpeg", "haze-snow")
OTHER = ("rain-heavy", "deblur-kodak", "lowlight-kodak")
SETS = {
    **_sets("", 16, THREE),
    **_sets("-all", 0, THREE),
    **_sets("-kodak", 6, (*THREE, "deblur", "lowlight"), "kodak24"),
    **_sets("-few", 6, (*FIVE, *NEW)),
    **{name: _mixed(name) for name in MIXED},
    "rain-heavy": Pictures("cbsd68", "derain", 6, str(HERE / "recipes" / "rain-heavy.yaml")),
}
"""Name -> test set. "-all": every picture of cbsd68, "-few": the first six; denoise: sigma 25."""


def few(*tasks: str) -> tuple[str, ...]:
    """The sets of the first few pictures."""
    return tuple(f"{task}-few" for task in tasks)


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        name: unique.
        table: of which table.
        text: what it says of itself.
        training: the run it looks at; "{task}" = the run of each set's task.
        sets: names of `SETS`; the row's mean is over these.
        view: variant of DyNet; adapters of ABAIR: oh, sw, sum, average, none, "{task}" = that of each set.
        seeds: how many `--all` takes: what fits its time.
    """

    name: str
    table: str
    text: str
    training: str
    sets: tuple[str, ...]
    view: str = ""
    seeds: int = 3

    def drawn(self, count: int | None) -> range:
        """The seeds of so many; None = the row's own number of them."""
        return range(self.seeds if count is None else count)

    def cells(self) -> list[tuple[str, str, str]]:
        """(set, training, view) of each set."""
        return [
            (one, self.training.format(task=SETS[one].task), self.view.format(task=SETS[one].task)) for one in self.sets
        ]


@dataclass(frozen=True)
class Claim:
    """An ordering of two rows' means, over the sets that both have.

    Attributes:
        table: it stands below.
        higher, lower: names of rows.
        paper: what the paper reports.
    """

    table: str
    higher: str
    lower: str
    paper: str


@dataclass(frozen=True)
class Target:
    """A number to be reached.

    Attributes:
        row, set: where it is read.
        least: PSNR, dB; or, with `gain`, dB above the degraded input.
    """

    row: str
    set: str
    least: float
    gain: bool = False


TABLES = {
    "target": "What the longest runs reach, one for each task",
    "pretraining": "DyNet: from scratch and pre-trained, the same fine-tuning steps",
    "variants": "DyNet: S and L from one run, and each alone",
    "architectures": "PromptIR and DyNet of one size, from scratch, the same steps",
    "single-task": "DyNet: one task at a time, and three at once, from the same pre-training",
    "abair-pretraining": "ABAIR: what the base is trained on, the same fine-tuning steps afterwards",
    "adapters": "ABAIR: kind and rank of adapters, each on its own task",
    "blending": "ABAIR: who chooses the adapter",
    "mixed": "ABAIR: mixed degradations",
    "unseen": "ABAIR: unseen tasks, before and after their adapters and a new estimator",
    "other-sets": "ABAIR: other test sets of learned tasks",
}
TARGET = "dynet.target.{task}"
"""The longest run of each task."""
HEADLINE = ("target", "pretraining", "variants")
"""Tables that are made without --all, but for the rows that `headline` leaves out."""


def _dynet() -> list[Row]:
    rows = [
        Row("target-l", "target", "dynet-tiny, variant L", TARGET, tuple(_sets("-all", 0, THREE)), "l"),
        Row("target-s", "target", "dynet-tiny, variant S, first pictures", TARGET, THREE, "s"),
        Row("target-kodak", "target", "variant L, kodak24", TARGET, tuple(f"{t}-kodak" for t in THREE), "l"),
    ]
    for variant in ("s", "l"):
        big = variant.upper()
        rows += [
            Row(f"scratch-{variant}", "pretraining", f"{big}, from scratch", "dynet.scratch", THREE, variant),
            Row(f"pretrained-{variant}", "pretraining", f"{big}, pre-trained", "dynet.pretrained", THREE, variant),
            Row(f"joint-{variant}", "variants", f"{big}, both from one run", "dynet.scratch", THREE, variant),
            Row(
                *(f"alone-{variant}", "variants", f"{big} alone, as many steps of its own as that run"),
                *(f"dynet.alone.{variant}", THREE, variant),
            ),
        ]
    half = {"s": "S alone, half the steps (what its share was)", "l": "L alone, half the steps (what its share was)"}
    rows += [Row(f"half-{v}", "variants", text, f"dynet.half.{v}", THREE, v) for v, text in half.items()]
    rows += [
        Row("promptir", "architectures", "PromptIR", "promptir.scratch", THREE),
        Row("dynet-s", "architectures", "DyNet S, both from one run", "dynet.scratch", THREE, "s"),
        Row("dynet-l", "architectures", "DyNet L, both from one run", "dynet.scratch", THREE, "l"),
        Row("dynet-l-alone", "architectures", "DyNet L alone", "dynet.alone.l", THREE, "l"),
        Row("three-at-once", "single-task", "three tasks at once, L", "dynet.pretrained", THREE, "l"),
        Row("one-by-one", "single-task", "one task each, as many samples of it, L", "dynet.single.{task}", THREE, "l"),
    ]
    return rows


def _abair() -> list[Row]:
    rows = []
    starts = {
        "none": "nothing (from scratch)",
        "paired": "paired sets only",
        "synthetic": "synthetic",
        "cutmix": "synthetic + CutMix",
        "segmentation": "synthetic + CutMix + segmentation",
    }
    for start, text in starts.items():
        rows.append(Row(f"after-{start}", "abair-pretraining", text, f"abair.after.{start}", few(*THREE)))
    for start in list(starts)[1:]:
        text = f"{starts[start]}: the base as it is, not fine-tuned"
        rows.append(Row(f"base-{start}", "abair-pretraining", text, f"abair.pre.{start}", few(*THREE)))
    for kind in KINDS:
        for rank in RANKS:
            run = f"adapt.{kind}.{rank}.{{task}}"
            rows.append(Row(f"{kind}-{rank}", "adapters", f"{kind}, rank {rank}", run, few(*THREE), "{task}"))
    rows.append(Row("no-adapter", "adapters", "no adapter", "abair.base", few(*THREE)))
    ways = {"oh": "best adapter (OH)", "sw": "by probability (SW)", "sum": "sum", "average": "average"}
    five, base, joint = "estimate.five", "abair.base", "promptir.five"
    for table, sets in (("blending", few(*FIVE)), ("mixed", MIXED), ("other-sets", OTHER)):
        chosen = list(ways) if table != "other-sets" else ["oh", "sw"]
        rows.append(Row(f"{table}-promptir", table, "PromptIR, five tasks at once", joint, sets))
        rows.append(Row(f"{table}-base", table, "base only", base, sets))
        rows += [Row(f"{table}-{way}", table, ways[way], five, sets, way) for way in chosen]
    rows.append(Row("blending-oracle", "blending", "the right adapter (oracle)", five, few(*FIVE), "{task}"))
    rows.append(Row("unseen-promptir", "unseen", "PromptIR, five tasks at once", joint, few(*NEW)))
    for when, run in (("before", five), ("after", "estimate.eight")):
        for way in ("oh", "sw"):
            text = f"{'five' if when == 'before' else 'eight'} adapters, {ways[way]}"
            rows.append(Row(f"unseen-{when}-{way}", "unseen", text, run, few(*NEW), way))
    rows.append(Row("unseen-old", "unseen", "eight adapters, OH, the old tasks", "estimate.eight", few(*FIVE), "oh"))
    return [replace(row, seeds=2) for row in rows]


ROWS = {row.name: row for row in (*_dynet(), *_abair())}

CLAIMS = (
    Claim("pretraining", "pretrained-s", "scratch-s", "+0.40 dB (three-task average)"),
    Claim("pretraining", "pretrained-l", "scratch-l", "+0.41 dB"),
    Claim("pretraining", "pretrained-l", "pretrained-s", "+0.25 dB"),
    Claim("variants", "alone-s", "joint-s", "no control in the paper, which saves 50 % by joint training"),
    Claim("variants", "alone-l", "joint-l", "no control in the paper"),
    Claim("variants", "joint-l", "joint-s", "+0.24 dB without pre-training"),
    Claim("architectures", "dynet-l", "promptir", "+0.27 dB without pre-training"),
    Claim("architectures", "dynet-l-alone", "promptir", "+0.27 dB without pre-training"),
    Claim("architectures", "dynet-s", "promptir", "+0.03 dB without pre-training"),
    Claim("variants", "joint-s", "half-s", "not in the paper: do the steps of L help S?"),
    Claim("variants", "joint-l", "half-l", "not in the paper: do the steps of S help L?"),
    Claim("single-task", "one-by-one", "three-at-once", "single-task tables are ahead of the all-in-one ones"),
    Claim("abair-pretraining", "after-synthetic", "after-paired", "+2.13 dB (five-task average)"),
    Claim("abair-pretraining", "after-cutmix", "after-synthetic", "+0.46 dB"),
    Claim("abair-pretraining", "after-segmentation", "after-cutmix", "+0.08 dB"),
    Claim("abair-pretraining", "after-segmentation", "after-none", "no such row"),
    Claim("adapters", "lora-4", "lora-8", "+0.02 to +0.03 dB"),
    Claim("adapters", "lora-4", "lora-16", "+0.20 dB"),
    Claim("adapters", "lora-4", "vera-4", "+0.49 dB"),
    Claim("adapters", "lora-4", "conv_lora-4", "+0.55 dB"),
    Claim("adapters", "conv_lora-4", "conv_lora-8", "+0.06 dB"),
    Claim("adapters", "lora-4", "no-adapter", "no such row"),
    Claim("blending", "blending-sw", "blending-oh", "+0.02 dB (five tasks), -0.04 dB (three tasks)"),
    Claim("blending", "blending-oracle", "blending-sw", "+0.35 dB by its columns, +0.22 dB as printed"),
    Claim("blending", "blending-sw", "blending-sum", "the estimator is ahead; numbers not available"),
    Claim("blending", "blending-sw", "blending-average", "the estimator is ahead; numbers not available"),
    Claim("blending", "blending-sw", "blending-base", "no such row"),
    Claim("blending", "blending-sw", "blending-promptir", "+2.59 dB"),
    Claim("blending", "blending-oh", "blending-promptir", "+2.57 dB"),
    Claim("mixed", "mixed-sw", "mixed-oh", "+0.84, +0.16, +0.61 dB"),
    Claim("mixed", "mixed-sw", "mixed-promptir", "+2.25, +1.05, +1.15 dB"),
    Claim("mixed", "mixed-oh", "mixed-promptir", "+1.41, +0.89, +0.54 dB"),
    Claim("unseen", "unseen-after-oh", "unseen-before-oh", "+3.89, +1.62, +5.48 dB"),
    Claim("unseen", "unseen-after-sw", "unseen-before-sw", "+3.71, +1.36, +5.35 dB"),
    Claim("unseen", "unseen-before-oh", "unseen-promptir", "+0.55, +2.60, +0.22 dB"),
    Claim("other-sets", "other-sets-oh", "other-sets-sw", "+2.32 dB on Rain100H, 0 on the others"),
    Claim("other-sets", "other-sets-oh", "other-sets-promptir", "+7.41, +2.55, +0.39 dB"),
)
TARGETS = (
    Target("target-l", "denoise-all", 29.5),
    Target("target-l", "derain-all", 4.0, gain=True),
    Target("target-l", "dehaze-all", 4.0, gain=True),
)

FORWARD = {"s": 4.7, "l": 6.9, "promptir": 6.9, "abair": 12.0}
"""Seconds of a CPU core for a megapixel."""


def seconds(one: str, training: str, view: str) -> float:
    """Of one core, to score a test set."""
    where = SETS[one]
    count = where.limit or 68
    kind = view if view in FORWARD else "promptir" if training.startswith("promptir") else "abair"
    return 1 + count * (where.megapixels * FORWARD[kind] + 0.1)


def headline() -> list[Row]:
    """The rows that are made without --all."""
    return [row for row in ROWS.values() if row.table in HEADLINE and not row.name.startswith("half-")]


def chosen(names: Sequence[str]) -> list[Row]:
    """Rows of these names and of tables of these names.

    Raises:
        ConfigError: a name is neither.
    """
    from million_ird.errors import ConfigError

    for name in names:
        if name not in ROWS and name not in TABLES:
            raise ConfigError(f"--rows {name}: neither a table nor a row; tables: {', '.join(TABLES)}; see --list")
    return [row for row in ROWS.values() if row.name in names or row.table in names]
