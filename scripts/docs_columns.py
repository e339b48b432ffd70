"""The page on tables and columns: what each column is, in words, and the schemas that the code writes by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LEDGER = {
    "key": "Names the input in every table of the build: 32 hex digits, a hash of source and uri. Never null, unique",
    "id": "SHA-256 of the file's bytes, 64 hex digits; null where they were never read whole",
    "uri": "Path relative to the source, POSIX; `archive.tar::member` in an archive; the address of what is on the web",
    "source": "Label of the source, unique in a build",
    "status": "`ok`, or why it could not be used (below)",
    "error": "What was found, in a few words; of the web the class of failure",
    "bytes": "Size of the file",
    "format": "`jpeg`, `png`, ... by its content, not its name",
    "width": "px, upright",
    "height": "px, upright",
    "meta": "JSON: what came with it and what its header says (licence, author, alt text, mode, subsampling, ...)",
    "phash": "64-bit perceptual hash; which one stands in the schema's metadata, `mird.hash`",
    "thumb": "256 bytes: 16x16 luma, row by row; by it near duplicates are verified",
    "meters": "Names of the meters that ran, joined by commas; empty = judged by its header alone",
}
DECISIONS = {
    "key": "As in the ledger; one row per input, kept or not",
    "id": "As in the ledger",
    "uri": "As in the ledger",
    "keep": "Whether it is in the dataset",
    "reason": "Null where kept; else the first rule that failed (below)",
    "value": "What was measured, where the rule has a number",
    "threshold": "What it was held against",
    "group": "Number of the cluster of duplicates it belongs to; null = none",
    "kept_as": "Of a duplicate: the key of the input that was kept for it",
}
DATASET = {
    "image": "The picture: bytes as they were found, unless `export.image` says otherwise",
    "id": "As in the ledger",
    "uri": "As in the ledger",
    "width": "px",
    "height": "px",
    "meta": "As in the ledger",
}
PAIRS = {
    "lq": "The degraded picture, PNG",
    "hq": "The clean picture, PNG, of the same size",
    "mask": "16-bit PNG: bit i is set where class i of `classes.json` changed the pixel or could have; 0 = clean",
    "labels": "Names of the classes that are present",
    "trace": "JSON: the drawn parameters; `million_ird.degrade.replay(hq, trace)` gives `lq` again",
    "id": "Of the clean picture",
    "uri": "Of the clean picture",
    "index": "Which of the samples of that picture, from 0",
    "seed": "Of the run",
}


def columns_page() -> str:
    """The tables that commands write, from their schemas."""
    from million_ird.curate.decide import SCHEMA
    from million_ird.curate.ledger import measurement_columns, schema
    from million_ird.curate.rules import reasons
    from million_ird.curate.settings import load_config
    from million_ird.curate.writers import features
    from million_ird.pairs.settings import DegradeConfig
    from million_ird.pairs.writers import features as pair_features
    from million_ird.records import STATUSES

    config = load_config("photos")
    measured = {name: column.help for name, column in measurement_columns(config).items()}
    lines = [
        "# Tables and columns",
        "",
        "All tables are Parquet. A build's lie in its folder DIR; `mird degrade` writes its own.",
        "",
        "## The ledger: DIR/ledger/base",
        "",
        "One row per input, good or bad. Passes of large models have folders of their own beside `base`, joined by",
        "`key`.",
        "",
        *_table(schema(config), {**LEDGER, **measured}),
        "A null in a measurement means that it does not apply, or, where `meters` does not name its meter, that it was",
        "never measured. Meters of other packages and ONNX files add a column each; so does `contaminated`, where the",
        "rule is on.",
        "",
        "### Status",
        "",
        ", ".join(f"`{name}`" for name in STATUSES) + ". All but `ok` are reasons to drop an input.",
        "",
        "## Decisions: DIR/decisions.parquet",
        "",
        *_table(SCHEMA, DECISIONS),
        "### Reasons",
        "",
        "In the order in which they are asked: " + ", ".join(f"`{name}`" for name in reasons(config.policy)) + ";",
        "columns of meters of others and of model passes (`clip_NAME`, `pyiqa_NAME`) come before `unmeasured`.",
        "Reasons and kept rows add up to the inputs.",
        "",
        "## The dataset: DIR/dataset",
        "",
        'Opens with `datasets.load_dataset("DIR/dataset")`.',
        "",
        *_table(features(config), {**DATASET, **measured}),
        "With `export.patch` set, `patch_x` and `patch_y` say where in the picture a row was cut from, px.",
        "",
        "## Pairs: what mird degrade writes",
        "",
        'Opens with `datasets.load_dataset("DIR")`. With `--virtual` the three pictures are left out.',
        "",
        *_table(pair_features(DegradeConfig()), PAIRS),
    ]
    return "\n".join(lines) + "\n"


def _table(schema: Any, words: Mapping[str, str]) -> list[str]:
    missing = [name for name in schema.names if name not in words]
    if missing:
        raise KeyError(f"scripts/docs_columns.py does not say what these columns are: {', '.join(missing)}")
    kinds = {field.name: "image" if str(field.type).startswith("struct") else str(field.type) for field in schema}
    rows = [
        f"| `{name}` | {kind.replace('<element: string>', ' of string')} | {words[name]} |"
        for name, kind in kinds.items()
    ]
    return ["| column | type | |", "| --- | --- | --- |", *rows, ""]
