"""The report of a run: one self-contained HTML page on which every threshold can be moved."""

from __future__ import annotations

import re
from dataclasses import asdict
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from million_ird.curate.report.embed import digest, json_for_html, text_for_html
from million_ird.curate.report.histograms import describe
from million_ird.curate.report.pictures import embed_pictures
from million_ird.curate.report.rows import code_of, embed_rows, fails, keepers, limit_of, movable
from million_ird.curate.survey import Survey

__all__ = ["render"]

_SCRIPTS = ("model.js", "axis.js", "cards.js", "pictures.js", "page.js")


def render(survey: Survey, *, seed: int = 0, exact_rows: int = 50_000, samples: int = 12) -> str:
    """The report as one HTML page: ASCII text with no address outside itself, under 25 MB for any number of rows.

    Args:
        survey: all rows of the run.
        seed: chooses the pictures, and the rows embedded where there are more than `exact_rows`.
        exact_rows: up to this many rows that a line could change, all are embedded and the counts on the page are
            exact wherever the lines are moved; beyond, those counts are estimated from about as many rows, and the
            page shows the 95 % margin. Counts where no line is moved are always exact.
        samples: most pictures for each reason, around each threshold and of what was kept.
    """
    rng = np.random.default_rng(seed)
    judged_by = keepers(survey)
    data = _facts(survey, judged_by) | {
        "rows": embed_rows(survey, judged_by, exact_rows, rng),
        "pictures": embed_pictures(survey, judged_by, samples, rng),
    }
    script = "\n".join(_asset(name) for name in _SCRIPTS)
    style = _asset("page.css")
    parts = {
        "title": text_for_html(survey.title),
        "policy": f"script-src {digest(script)}; style-src {digest(style)}",
        "style": style,
        "script": script,
        "inputs": f"{survey.codes.size:,}",
        "kept": f"{np.count_nonzero(survey.codes == 0):,}",
        "data": json_for_html(data),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda mark: parts[mark[1]], _asset("page.html"))


def _asset(name: str) -> str:
    return files("million_ird.curate.report").joinpath(name).read_text("ascii")


def _facts(survey: Survey, judged_by: NDArray[np.int64]) -> dict[str, Any]:
    reasons, names = list(survey.reasons), list(survey.columns)
    kept, free = survey.codes == 0, movable(survey)
    limits = {name: [float(limit_of(line)) for line in survey.lines if line.column == name] for name in names}
    return {
        "title": survey.title,
        "facts": list(survey.facts.items()),
        "tables": [asdict(table) for table in survey.tables],
        "config": survey.config,
        "reasons": reasons,
        "counts": np.bincount(survey.codes, minlength=len(reasons) + 1).tolist(),
        "resolution": code_of(survey, "resolution"),
        "near": code_of(survey, "near_duplicate") if np.any(judged_by != np.arange(kept.size)) else 0,
        "lines": [
            {
                "rule": code_of(survey, line.reason),
                "column": names.index(line.column),
                "bound": line.bound,
                "value": line.value if np.isfinite(line.value) else None,
                "key": line.key,
                "on": line.enabled,
                "failing": int(np.count_nonzero(free & fails(survey, line))),
            }
            for line in survey.lines
        ],
        "columns": [
            {"name": name, "help": survey.help.get(name, "")} | describe(values, kept, limits[name])
            for name, values in survey.columns.items()
        ],
    }
