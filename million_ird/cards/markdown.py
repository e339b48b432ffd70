"""The pieces that all cards are made of: the YAML head, tables, foreign text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""The Hub's classes of size; from a million on the next one."""


def head(values: Mapping[str, Any]) -> str:
    """The YAML between the two lines of dashes; what is None is left out."""
    kept = {name: value for name, value in values.items() if value is not None}
    return f"---\n{yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=10**6)}---"


def inline(text: str) -> str:
    """Foreign text on one line of Markdown."""
    clean = " ".join(text.split())
    return "".join("\\" + c if c in "|`<>[]*_#\\" else c for c in clean)


def table(names: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """A table of cells that are Markdown already; columns in `right` are right-aligned."""
    rule = ["---:" if number in right else "---" for number in range(len(names))]
    return "\n".join(f"| {' | '.join(row)} |" for row in [names, rule, *rows])


def folded(title: str, text: str, language: str = "yaml") -> str:
    """A block of code that is unfolded on request."""
    return f"<details><summary>{title}</summary>\n\n```{language}\n{text.rstrip()}\n```\n\n</details>"


def size_class(samples: int) -> str:
    """The Hub's class of size."""
    return next((name for limit, name in SIZES if samples < limit), "1M<n<10M" if samples < 10**7 else "n>10M")


def slug(text: str) -> str:
    """Text as part of a name: small letters, digits, hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "unnamed"


def citation(kind: str, title: str, repo: str, note: str) -> str:
    """A BibTeX entry; the owner of the repository stands for its authors."""
    owner = repo.partition("/")[0] if repo else "(you)"
    address = {"dataset": "datasets/"}.get(kind, "") + repo
    lines = [
        f"@misc{{{slug(repo or title)},",
        f"  title = {{{_tex(title)}}},",
        f"  author = {{{{{_tex(owner)}}}}},",
        *([f"  howpublished = {{\\url{{https://huggingface.co/{address}}}}},"] if repo else []),
        f"  note = {{{_tex(note)}}}",
        "}",
    ]
    return "```bibtex\n" + "\n".join(lines) + "\n```"


def _tex(text: str) -> str:
    clean = " ".join(text.split())
    return "".join("\\" + c if c in "&%#_$" else c for c in clean if c not in "{}\\`")
