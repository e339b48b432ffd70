"""The passes' ledgers: which columns there are, what was measured, and the rules on them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from million_ird.curate.policy import Policy
from million_ird.curate.settings import BuildConfig
from million_ird.curate.survey import Bound, Line
from million_ird.errors import ConfigError, OutputError
from million_ird.meters.clip import Clip
from million_ird.meters.iqa import Pyiqa
from million_ird.tables import part_path, write_table

PASSES = ("clip", "pyiqa")
"""Names of the passes, in their order."""
FACTS = "mird.pass"
"""Key of a part's metadata: JSON with the marks of what it rests on and the model's facts."""


@dataclass(frozen=True)
class Passed:
    """What one pass found of all N rows of a run.

    Attributes:
        name: of the pass.
        ran: (N,) bool, the rows that it has measured.
        values: column -> (N,) float64, NaN = no value.
        lines: the rules on it, in the order of asking.
    """

    name: str
    ran: NDArray[np.bool_]
    values: Mapping[str, NDArray[np.float64]]
    lines: Sequence[Line]


def enabled(config: BuildConfig) -> dict[str, Clip | Pyiqa]:
    """The passes that run, by name, in their order."""
    known: dict[str, Clip | Pyiqa] = {"clip": config.passes.clip, "pyiqa": config.passes.pyiqa}
    return {name: one for name, one in known.items() if one.enabled}


def pass_lines(policy: Policy, name: str) -> list[Line]:
    """The rules on a pass, in the order of asking; the reason is the column's name."""
    found = []
    for key, limits in getattr(policy, name).items():
        for side, value in limits.items():
            column = f"{name}_{key}"
            found.append(Line(column, column, "min" if side == "min" else "max", value, f"policy.{name}.{key}.{side}"))
    return found


def pass_places(name: str, column: str) -> list[tuple[Bound, str]]:
    """The bounds that a policy can set on a pass's column, and the configuration key of each."""
    key = f"policy.{name}.{column.removeprefix(name + '_')}"
    return [("max", f"{key}.max"), ("min", f"{key}.min")]


def all_pass_lines(policy: Policy) -> list[Line]:
    """The rules on all passes, in the order of asking."""
    return [line for name in PASSES for line in pass_lines(policy, name)]


def check_passes(config: BuildConfig) -> None:
    """Refuse rules on what no pass measures.

    Raises:
        ConfigError: naming the key.
    """
    passes = enabled(config)
    for name in PASSES:
        for line in pass_lines(config.policy, name):
            if name not in passes:
                raise ConfigError(f"{line.key}: passes.{name} is off; set passes.{name}.enabled=true")
            if line.column not in passes[name].columns():
                known = ", ".join(column.removeprefix(f"{name}_") for column in passes[name].columns())
                raise ConfigError(f"{line.key}: the pass measures no such thing; known: {known}")


def part_facts(folder: Path, shard: int) -> dict[str, Any] | None:
    """What a part says of itself; None where there is none.

    Raises:
        OutputError: it cannot be read.
    """
    path = part_path(folder, shard)
    try:
        with path.open("rb") as file:
            metadata = pq.read_schema(file).metadata or {}
        return json.loads(metadata.get(FACTS.encode(), b"{}"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: not a ledger part ({error}); delete it and run `mird build` again") from None


def holds(facts: Mapping[str, Any] | None, config: Clip | Pyiqa) -> bool:
    """Whether a part rests on what the configuration says; its scores may still be others."""
    return facts is not None and facts.get("mark") == config.mark()


def scored(facts: Mapping[str, Any] | None, config: Clip | Pyiqa) -> bool:
    """Whether a part has all the scores that the configuration asks for."""
    return facts is not None and config.marks().items() <= facts.get("scores", {}).items()


def forget(folder: Path, shard: int, keys: frozenset[str]) -> None:
    """Take rows out of a part, with their embeddings; nothing where there is no part."""
    path = part_path(folder, shard)
    if not path.exists():
        return
    with path.open("rb") as file:
        table = pq.read_table(file)
    among = pa.array([key not in keys for key in table.column("key").to_pylist()], pa.bool_())
    write_table(path, table.filter(among))


def read_passes(out: Path, shards: int, config: BuildConfig, keys: pa.ChunkedArray) -> list[Passed]:
    """What the passes have found so far.

    Args:
        out: the run's folder.
        shards: of its plan.
        config: which passes and rules there are.
        keys: (N,) of the base pass, in plan order.
    """
    return [_read(out / "ledger" / name, name, shards, one, config, keys) for name, one in enabled(config).items()]


def _read(
    folder: Path, name: str, shards: int, one: Clip | Pyiqa, config: BuildConfig, keys: pa.ChunkedArray
) -> Passed:
    ran = np.zeros(len(keys), bool)
    values = {column: np.full(len(keys), np.nan) for column in one.columns()}
    tables = list(_tables(folder, shards, one))
    if tables:
        table = pa.concat_tables(tables)
        wanted = pc.SetLookupOptions(value_set=keys.combine_chunks(), skip_nulls=True)
        places = pc.call_function("index_in", [table.column("key").combine_chunks()], wanted)
        known = places.is_valid().to_numpy(zero_copy_only=False)
        rows = places.drop_null().to_numpy()
        ran[rows] = True
        for column, array in values.items():
            found = pc.fill_null(table.column(column).cast(pa.float64()), float("nan")).to_numpy()
            array[rows] = found[known]
    return Passed(name, ran, values, pass_lines(config.policy, name))


def _tables(folder: Path, shards: int, one: Clip | Pyiqa) -> Iterator[pa.Table]:
    for shard in range(shards):
        facts = part_facts(folder, shard)
        if holds(facts, one) and scored(facts, one):
            with part_path(folder, shard).open("rb") as file:
                yield pq.read_table(file, columns=["key", *one.columns()]).replace_schema_metadata(None)
