"""Build wheel and sdist and check them as a user gets them: what is in them, how large, and that they work installed.

    python scripts/check_release.py [--tag v1.2.3] [--keep DIR] [--no-train]

In a bare environment, in a folder far from the checkout: `mird --version`, then `mird build` and `mird degrade` on
pictures made on the spot, without torch; a typed script under pyright; then the extra `train` and `mird restore --model
tiny`. Versions are those of requirements.lock, so that what is cached serves. `--tag` also asks that the tag is the
version and that CHANGELOG.md has a date for it. `--keep` leaves the two files in DIR. Exit code 1 at the first thing
that is wrong.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PARTS = ROOT / "tests" / "release"
"""Programs that run in the environment of the wheel: pictures.py, typed.py."""

MOST_WHEEL, MOST_SDIST = 7_000_000, 7_000_000
"""Bytes."""
MOST_FILE = 1_000_000
"""Bytes of one file, unpacked, but for those of `LARGE`."""
LARGE = {"million_ird/models/tiny/model.safetensors": 4_500_000}
NEEDED = (
    "million_ird/py.typed",
    "million_ird/models/tiny/model.safetensors",
    "million_ird/models/tiny/config.json",
    "million_ird/meters/weights/niqe.npz",
    "million_ird/meters/weights/watermark.onnx",
    "million_ird/dedup/lists/kodak24.parquet",
    "million_ird/curate/presets/photos.yaml",
    "million_ird/curate/report/page.html",
    "million_ird/curate/report/page.js",
    "million_ird/curate/review/page.html",
    "million_ird/degrade/recipes/abair.yaml",
    "million_ird/degrade/recipes/recipe.schema.json",
    "million_ird/pairs/page.css",
)
SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
HEADING = re.compile(r"^## (\S+) - (\d{4}-\d{2}-\d{2}|unreleased)$", re.MULTILINE)
PICTURES, RESTORED = 6, 2
WITHOUT = {
    "restore photos --model tiny --out new": "train",
    "export --model tiny --out new.onnx": "train",
    "eval --model tiny --on photos=photos,sigma=25 --out new.json": "train",
    "train dynet --data photos --out new": "train",
    "publish dataset built --repo org/name --allow-unknown-licence": "train",
    "build urls.txt --out new": "web",
    "build photos --out new --executor ray": "ray",
    "degrade photos --recipe denoise --out new --executor ray": "ray",
    "build photos --out new --set dedup.hash=imagehash.phash": "hash",
    "build photos --out new --set passes.clip.enabled=true --set passes.clip.model=hf-hub:org/name": "clip",
}
"""Calls that need an extra -> which one they must name."""


class Wrong(Exception):
    """Something that must not be released; the message says what."""


def version_of(root: Path) -> str:
    """The version, from the one place where it stands."""
    found = re.search(r'^__version__ = "([^"]+)"$', (root / "million_ird" / "__init__.py").read_text(), re.MULTILINE)
    if not found or not SEMVER.fullmatch(found[1]):
        raise Wrong("million_ird/__init__.py: __version__ is no semantic version, like 1.2.3")
    return found[1]


def check_names(root: Path, tag: str | None = None) -> str:
    """The version, where CHANGELOG.md, CITATION.cff and the tag agree with it.

    Args:
        root: of the checkout.
        tag: of a release, whose heading must have a date.
    """
    version = version_of(root)
    headings = HEADING.findall((root / "CHANGELOG.md").read_text(encoding="utf-8"))
    if not headings or headings[0][0] != version:
        raise Wrong(f"CHANGELOG.md: its first heading must be `## {version} - YYYY-MM-DD` or `- unreleased`")
    if f"\nversion: {version}\n" not in (root / "CITATION.cff").read_text(encoding="utf-8"):
        raise Wrong(f"CITATION.cff: version must be {version}")
    dates = [date for _, date in headings if date != "unreleased"]
    if any(str(datetime.date.fromisoformat(date)) != date for date in dates) or dates != sorted(dates, reverse=True):
        raise Wrong("CHANGELOG.md: the newest version comes first")
    if tag is not None and tag != f"v{version}":
        raise Wrong(f"tag {tag}: the version is {version}, whose tag is v{version}")
    if tag is not None and headings[0][1] == "unreleased":
        raise Wrong(f"CHANGELOG.md: {version} is unreleased; give it its date before the tag")
    return version


def tracked(root: Path) -> set[str]:
    """The package's files that git knows or would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "million_ird"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.split("\0")
    return {name for name in listed if name and (root / name).is_file()}


def check_wheel(path: Path, package: Iterable[str]) -> str:
    """What is in a wheel: exactly the package and its metadata.

    Returns:
        A line about it.
    """
    with zipfile.ZipFile(path) as wheel:
        sizes = {info.filename: info.file_size for info in wheel.infolist()}
        name = next((name for name in sizes if name.endswith(".dist-info/METADATA")), None)
        if name is None:
            raise Wrong(f"{path.name}: no METADATA")
        about = wheel.read(name).decode()
    folder = name.removesuffix("METADATA")
    own = {name for name in sizes if not name.startswith(folder)}
    expected = set(package)
    if own != expected:
        stray, missing = sorted(own - expected), sorted(expected - own)
        raise Wrong(f"{path.name}: holds besides the package {stray[:5]}; lacks {missing[:5]}")
    needed = {f"{folder}licenses/{name}" for name in ("LICENSE", "NOTICE")}
    if not needed <= set(sizes) or "License-Expression: Apache-2.0" not in about:
        raise Wrong(f"{path.name}: no licence, or no NOTICE")
    if re.search(r"^Requires-Dist: torch\S*$", about, re.MULTILINE):
        raise Wrong(f"{path.name}: needs torch")
    return _sized(path, sizes, MOST_WHEEL)


def check_sdist(path: Path, package: Iterable[str]) -> str:
    """What is in an sdist: the package, its tests and documents, and nothing large."""
    with tarfile.open(path) as archive:
        sizes = {name.split("/", 1)[1]: info.size for info in archive if "/" in (name := info.name) and info.isfile()}
    if missing := sorted({*package, "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "NOTICE"} - set(sizes)):
        raise Wrong(f"{path.name}: lacks {missing[:5]}")
    return _sized(path, sizes, MOST_SDIST)


def _sized(path: Path, sizes: Mapping[str, int], most: int) -> str:
    if missing := [name for name in NEEDED if name not in sizes]:
        raise Wrong(f"{path.name}: lacks {', '.join(missing)}")
    for name, size in sizes.items():
        if size > LARGE.get(name, MOST_FILE):
            raise Wrong(f"{path.name}: {name} has {size:,} bytes, may have {LARGE.get(name, MOST_FILE):,}")
    if path.stat().st_size > most:
        raise Wrong(f"{path.name}: {path.stat().st_size:,} bytes, may have {most:,}")
    return f"{path.name}: {len(sizes)} files, {path.stat().st_size / 1e6:.2f} MB of {most / 1e6:.0f}"


class Place:
    """A bare environment and a folder to work in, both far from the checkout.

    Args:
        folder: made and empty.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self.env = folder / "env"
        self.bin = self.env / ("Scripts" if os.name == "nt" else "bin")
        self.python = self.bin / "python"
        # Nothing of the checkout may help: neither its packages nor settings of the Python that runs this.
        told = ("PYTHON", "VIRTUAL_ENV")
        self.variables = {name: value for name, value in os.environ.items() if not name.startswith(told)}
        self.variables |= {"PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}", "HF_HUB_OFFLINE": "1"}
        self.variables |= {"OMP_NUM_THREADS": "1"}  # on a machine that others use, threads that wait cost most

    def run(self, *words: str | Path) -> str:
        """Run a command; what it printed to standard output.

        Raises:
            Wrong: it failed.
        """
        done = self._done(words)
        if done.returncode:
            raise Wrong(f"{shlex.join(map(str, words))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def fails(self, *words: str) -> str:
        """Run a command that must fail by exit code 1 or 2; its last line on standard error."""
        done = self._done(words)
        if done.returncode not in (1, 2) or "Traceback" in done.stderr:
            raise Wrong(f"{shlex.join(words)}: exit code {done.returncode}\n{done.stderr}")
        return (done.stderr.splitlines() or [""])[-1]

    def _done(self, words: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
        command = list(map(str, words))
        command[0] = shutil.which(command[0], path=self.variables["PATH"]) or command[0]
        options: dict[str, Any] = {"cwd": self.folder, "env": self.variables, "capture_output": True, "text": True}
        return subprocess.run(command, **options, check=False)

    def install(self, wheel: str) -> None:
        """Install a requirement by the versions of the lock."""
        uv = _uv()
        options = ["-q", "--python", self.python, "--constraints", ROOT / "requirements.lock"]
        self.run(uv, "pip", "install", *options, wheel)

    def has(self, module: str) -> bool:
        """Whether a module can be imported there."""
        code = f"import importlib.util; print(importlib.util.find_spec({module!r}) is not None)"
        return self.run(self.python, "-c", code).strip() == "True"


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise Wrong("uv is not here; run by the Python of `make setup`")
    return found


def check_base(place: Place, version: str) -> list[str]:
    """The wheel alone: builds and degrades without torch."""
    for module in ("torch", "datasets", "huggingface_hub", "ray"):
        if place.has(module):
            raise Wrong(f"{module} came with the base")
    where = place.run(place.python, "-c", "import million_ird; print(million_ird.__file__)").strip()
    if not Path(where).is_relative_to(place.env):
        raise Wrong(f"{where}: not what was installed")
    _same("mird --version", place.run("mird", "--version").strip(), f"mird {version}")
    place.run(place.python, PARTS / "pictures.py", "photos", str(PICTURES))
    words = ["--set", "policy.resolution.min_side=200", "--workers", "1", "--json"]
    built = json.loads(place.run("mird", "build", "photos", "--out", "built", *words))
    _same("mird build: kept", built["kept"], PICTURES)
    _same("mird build: reasons", built["reasons"], {"unsupported": 1, "exact_duplicate": 1})
    words = ["--recipe", "abair", "--format", "folder", "--workers", "1", "--json"]
    pairs = json.loads(place.run("mird", "degrade", "built", "--out", "pairs", *words))
    _same("mird degrade: samples", pairs["samples"], PICTURES)
    if "all as written" not in place.run("mird", "verify", "pairs"):
        raise Wrong("mird verify: not as written")
    (place.folder / "urls.txt").write_text("https://example.org/a.jpg\n")
    for line, extra in WITHOUT.items():
        shutil.rmtree(place.folder / "new", ignore_errors=True)
        told = place.fails("mird", *line.split())
        if not told.startswith("mird: error: ") or not re.search(rf"pip install .million-ird\[{extra}\]", told):
            raise Wrong(f"mird {line}: not told to install [{extra}]: {told}")
    about = f"without torch: {PICTURES} of {PICTURES + 2} inputs kept, {PICTURES} pairs made and verified"
    return [about, f"{len(WITHOUT)} commands whose extra is missing name it"]


def check_types(place: Place) -> str:
    """The installed package says that it is typed, and a strict checker takes it at its word."""
    script = place.folder / "typed.py"
    shutil.copy(PARTS / "typed.py", script)
    settings = {"typeCheckingMode": "strict", "reportMissingTypeStubs": "error"}
    (place.folder / "pyrightconfig.json").write_text(json.dumps(settings))
    found = json.loads(place.run(sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", place.python, script))
    _same("pyright: errors", found["summary"]["errorCount"], 0)
    return "typed: pyright in strict mode finds the types of the installed package"


def check_train(place: Place, wheel: Path) -> str:
    """With the extra `train` the shipped network restores what was degraded."""
    place.install(f"million-ird[train] @ {wheel.as_uri()}")
    some = sorted((place.folder / "pairs" / "lq").glob("*.png"))[:RESTORED]
    words = ["--model", "tiny", "--out", "restored", "--json"]
    restored = json.loads(place.run("mird", "restore", *some, *words))
    _same("mird restore: pictures", len(list((place.folder / "restored").glob("**/*.png"))), RESTORED)
    return f"with [train]: {RESTORED} pictures restored by tiny in {restored['seconds']:.1f} s"


def _same(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise Wrong(f"{what}: {found!r}, expected {expected!r}")


def main(words: Sequence[str] | None = None) -> int:
    """Everything, in order; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tag", help="of a release, like v1.2.3")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where to leave the wheel and the sdist")
    parser.add_argument("--no-train", action="store_true", help="leave out what needs torch")
    given = parser.parse_args(words)
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="mird-release-") as name:
            for line in _checked(Path(name), given.tag, given.keep, not given.no_train):
                print(f"{time.monotonic() - began:5.1f} s  {line}", flush=True)
    except Wrong as wrong:
        print(f"check_release: {wrong}", file=sys.stderr)
        return 1
    return 0


def _checked(folder: Path, tag: str | None, keep: Path | None, train: bool) -> Iterable[str]:
    version = check_names(ROOT, tag)
    yield f"version {version}: package, CHANGELOG.md and CITATION.cff agree"
    dist = folder / "dist"
    package = tracked(ROOT)
    command = [sys.executable, "-m", "build", "--installer", "uv", "--outdir", str(dist), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode:
        raise Wrong(f"build: {built.stdout}{built.stderr}")
    wheel, sdist = dist / f"million_ird-{version}-py3-none-any.whl", dist / f"million_ird-{version}.tar.gz"
    yield check_wheel(wheel, package)
    yield check_sdist(sdist, package)
    place = Place(folder)
    place.run(_uv(), "venv", "-q", "--python", sys.executable, place.env)
    place.install(str(wheel))
    yield from check_base(place, version)
    yield check_types(place)
    if train:
        yield check_train(place, wheel)
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        for file in (wheel, sdist):
            shutil.copy(file, keep)
        yield f"kept in {keep}"


if __name__ == "__main__":
    sys.exit(main())
