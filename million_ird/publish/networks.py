"""`mird publish model`: a network with its card. No weights are loaded for it: the files say what a card tells."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from million_ird import __version__
from million_ird.cards import DataFacts, ModelFacts, model_card
from million_ird.config import read_yaml
from million_ird.errors import ConfigError, InputError
from million_ird.publish import checks
from million_ird.publish.facts import Build, digest
from million_ird.publish.hub import Target
from million_ird.publish.outcome import Published, Unfit, Watch, send, sizes, write_files
from million_ird.publish.places import bare, own_folders
from million_ird.sources.archive import IMAGE_SUFFIXES
from million_ird.tables import read_json

CARD, RECIPE = "README.md", "train.yaml"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
REPLACED = ("adapters/*",)
_LISTED = 100_000
"""Files of a folder of training data that its hash looks at, at most."""


def model(
    folder: str | Path,
    repo: str,
    *,
    evals: Sequence[str | Path] = (),
    licence: str = "",
    name: str = "",
    contact: str = "",
    public: bool = False,
    revision: str = "",
    create_pr: bool = False,
    dry_run: bool = False,
    show: bool = False,
    watch: Watch = lambda *progress: None,
) -> Published:
    """Put a network on the Hub, from where `models.load("ORG/NAME")` has it.

    Args:
        folder: RUN of `mird train`, its `model` folder, or any folder of `save_pretrained`.
        repo: ORG/NAME.
        evals: files of `mird eval --out`, for the card.
        licence: of the weights, as the Hub calls it; "" = not stated.
        name: title of the card, "" = that of the repository.
        contact: for the card, "" = the discussions on the Hub.
        public: let everybody read it; else a repository that is public is refused.
        revision: branch, "" = main.
        create_pr: open a pull request.
        dry_run: check, and tell what would be sent; write and send nothing.
        show: let the Hub's client draw its progress.
        watch: told of progress.

    Raises:
        Unfit: a check failed; nothing was sent.
        MirdError: there is no network; the Hub refuses.
    """
    target = Target(repo, "model", not public, revision, create_pr)
    watch("card", 0, 1)
    home, run = found_in(folder)
    facts = described(home, run, evals, licence, name or repo.rpartition("/")[2], repo, contact)
    written = {CARD: model_card(facts).encode()}
    if facts.recipe:
        written[RECIPE] = facts.recipe.encode()
    files = sizes(home, written)
    texts = {one: data.decode() for one, data in written.items()}
    texts |= {one: (home / one).read_text("utf-8", "replace") for one in files if one.endswith(".json")}
    problems = (
        *checks.card_problems(CARD, texts[CARD], files),
        *checks.text_problems(texts, own_folders(*([run] if run else [home]))),
        *checks.size_problems(files),
    )
    warnings = tuple(checks.size_warnings(files, not public))
    if dry_run:
        return Published(repo, "model", files, problems, warnings, private=not public)
    if problems:
        raise Unfit(str(home), problems)
    write_files(home, written)
    watch("upload", 0, len(files))
    message = f"mird publish model: {facts.family}, {facts.step:,} steps, configuration {facts.commit or 'not known'}"
    done = send(home, target, "model", message, REPLACED, warnings, show)
    watch("upload", len(files), len(files))
    return done


def write_card(
    folder: str | Path,
    *,
    evals: Sequence[str | Path] = (),
    licence: str = "",
    name: str = "",
    repo: str = "",
    contact: str = "",
) -> Path:
    """Write the card of a network beside its weights, without publishing it; arguments as of `model`."""
    home, run = found_in(folder)
    title = name or repo.rpartition("/")[2] or (run or home).resolve().name
    facts = described(home, run, evals, licence, title, repo, contact)
    write_files(home, {CARD: model_card(facts).encode()})
    return home / CARD


def found_in(folder: str | Path) -> tuple[Path, Path | None]:
    """The folder that holds a network, and the run that made it where there is one.

    Raises:
        InputError: there is no network.
    """
    path = Path(folder)
    home = path / "model" if (path / "model" / CONFIG).is_file() else path
    if not (home / CONFIG).is_file():
        unfinished = (path / RECIPE).is_file()
        raise InputError(
            f"{path}: holds no network ({CONFIG} is missing); "
            + ("finish the run by `mird train … --resume`" if unfinished else "name RUN or RUN/model of `mird train`")
        )
    if not (home / WEIGHTS).is_file():
        raise InputError(f"{home}: holds no weights ({WEIGHTS} is missing); finish the run, or save the network again")
    run = next((one for one in (path, home.absolute().parent) if (one / RECIPE).is_file() and one != home), None)
    return home, run


def described(
    home: Path, run: Path | None, evals: Sequence[str | Path], licence: str, name: str, repo: str, contact: str
) -> ModelFacts:
    """What a card tells of a network.

    Raises:
        InputError: a file is not what it should be.
        ConfigError: an evaluation is none.
    """
    config = _mapping(home / CONFIG)
    settings = read_yaml(run / RECIPE) if run else {}
    summary = (read_json(run / "summary.json") or {}) if run else {}
    shown = {key: value for key, value in settings.items() if key not in ("run", "log")}
    recipe = yaml.safe_dump(bare(shown), sort_keys=False, allow_unicode=True) if shown else ""
    weights = sorted(home.rglob("*.safetensors"))
    return ModelFacts(
        name=name,
        family=str(config.get("model", "")),
        config=config,
        parameters=sum(map(parameters, weights)),
        bytes=sum(path.stat().st_size for path in weights),
        version=__version__,
        adapters=sorted(path.parent.name for path in home.glob("adapters/*/adapter.json")),
        data=tuple(_data(text, shown) for text in shown.get("data", {}).get("tasks", ())),
        recipe=recipe,
        settings=shown,
        commit=digest(recipe) if recipe else "",
        status=str(summary.get("status", "")),
        step=int(summary.get("step", 0)),
        evals=[evaluation(path) for path in evals],
        licence=licence,
        repo=repo,
        contact=contact,
    )


def evaluation(path: str | Path) -> Mapping[str, Any]:
    """What `mird eval` wrote.

    Raises:
        ConfigError: it is something else.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        complete = all(one["mean"]["output"].keys() and one["images"] >= 0 and one["name"] for one in found["sets"])
        if complete and found["metrics"] and found["protocol"]["name"]:
            return found
    except OSError as error:
        raise ConfigError(f"--eval {path}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        pass  # said below: whatever it holds, it is no table
    raise ConfigError(f"--eval {path}: is no table of `mird eval`; give the .json of its --out")


def parameters(path: Path) -> int:
    """How many numbers a safetensors file holds, from its head alone.

    Raises:
        InputError: it is none.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > path.stat().st_size:
                raise ValueError("its head is longer than the file")
            head = json.loads(file.read(length))
        total, last = 0, 0
        for name, about in head.items():
            if name != "__metadata__":
                size = 1
                for side in about["shape"]:
                    size *= side
                total, last = total + size, max(last, about["data_offsets"][1])
        if 8 + length + last != path.stat().st_size:
            raise ValueError("it is cut off")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: is no safetensors file ({error}); save the network again") from None
    return total


def _mapping(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); save the network again") from None
    if not isinstance(found, dict) or "model" not in found:
        raise InputError(f"{path}: does not say which model it describes (save_pretrained writes it)")
    return found


def _data(text: str, settings: Mapping[str, Any]) -> DataFacts:
    """One entry of `data.tasks`."""
    from million_ird.train.presets import RECIPES
    from million_ird.train.tasks import PAIRED, parse

    spec = parse(text)
    folder, task = Path(spec.path), spec.name
    recipe = str(spec.options.get("recipe") or settings.get("data", {}).get("recipe") or RECIPES.get(task, ""))
    if "://" in spec.path:
        return DataFacts(task, str(bare(spec.path)), "dataset of the Hub", None, "", recipe)
    if not folder.exists():
        return DataFacts(task, folder.name, "not here any more", None, "", recipe)
    if (folder / "build.yaml").is_file() and (folder / "decisions.parquet").is_file():
        build = Build.of(folder)
        decided = hashlib.sha256((folder / "decisions.parquet").read_bytes()).hexdigest()
        kind = f"`mird build`, configuration `{build.commit}`"
        return DataFacts(task, folder.name, kind, int(build.keep.sum()), f"decisions sha256:{decided[:32]}", recipe)
    if (folder / "degrade.yaml").is_file():
        made = digest((folder / "degrade.yaml").read_text(encoding="utf-8"))
        return DataFacts(task, folder.name, f"`mird degrade`, configuration `{made}`", *_listing(folder), "")
    if spec.layout:
        return DataFacts(task, folder.name, f"pairs ({spec.layout})", *_listing(folder), "")
    paired = all((folder / part).is_dir() for part in PAIRED)
    return DataFacts(task, folder.name, "pairs" if paired else "images", *_listing(folder), "" if paired else recipe)


def _listing(folder: Path) -> tuple[int | None, str]:
    """How many images, rows or pairs a folder holds, and a hash of its files' names and sizes; of very many files
    nothing."""
    if not folder.is_dir():
        return None, ""
    counted = "hq/" if (folder / "hq").is_dir() else ""  # a pair is one
    found = hashlib.sha256()
    count = 0
    for number, path in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
        if number == _LISTED:
            return None, ""
        name = path.relative_to(folder).as_posix()
        found.update(f"{name}\0{path.stat().st_size}\n".encode())
        if path.suffix == ".parquet":
            with path.open("rb") as file:
                count += pq.ParquetFile(file).metadata.num_rows
        elif name.startswith(counted) and path.suffix.lower().lstrip(".") in IMAGE_SUFFIXES:
            count += 1
    return count, f"names and sizes sha256:{found.hexdigest()[:32]}"
