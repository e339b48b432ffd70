"""What is released: one version, a wheel with everything and nothing else, files that other services read."""

from __future__ import annotations

import importlib.util
import io
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import million_ird

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_release", ROOT / "scripts" / "check_release.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


release = _script()


@pytest.fixture
def checkout(tmp_path):
    """The files that name the version, in a folder of their own: (folder, set them)."""

    def put(own: str = "1.2.3", changelog: str = "## 1.2.3 - 2026-01-02\n", citation: str = "1.2.3") -> Path:
        (tmp_path / "million_ird").mkdir(exist_ok=True)
        (tmp_path / "million_ird" / "__init__.py").write_text(f'__version__ = "{own}"\n')
        (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n{changelog}")
        (tmp_path / "CITATION.cff").write_text(f"cff-version: 1.2.0\nversion: {citation}\n")
        return tmp_path

    return put


def wheel(
    path: Path,
    names: dict[str, bytes],
    metadata: str = "License-Expression: Apache-2.0\n",
    licences: Iterable[str] = ("LICENSE", "NOTICE"),
) -> Path:
    """A wheel of the package's needed files and `names`."""
    files = dict.fromkeys(release.NEEDED, b"x") | names
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr("million_ird-1.0.0.dist-info/METADATA", metadata)
        for name in licences:
            archive.writestr(f"million_ird-1.0.0.dist-info/licenses/{name}", "x")
    return path


def test_the_version_stands_in_one_place_and_all_agree():
    found = release.check_names(ROOT)
    assert found == million_ird.__version__ == version("million-ird")


@pytest.mark.parametrize(
    "told",
    [
        {"own": "1.2"},
        {"own": "1.2.3.dev1"},
        {"changelog": "## 1.2.2 - 2026-01-02\n"},
        {"changelog": "## 1.2.3\n"},
        {"changelog": "## 1.2.3 - 2025-01-01\n\n## 1.2.2 - 2026-01-01\n"},
        {"citation": "1.2.2"},
    ],
)
def test_versions_that_differ_are_found(checkout, told):
    with pytest.raises(release.Wrong):
        release.check_names(checkout(**told))


def test_a_tag_must_be_the_version_and_have_a_date(checkout):
    assert release.check_names(checkout(), "v1.2.3") == "1.2.3"
    with pytest.raises(release.Wrong, match=r"whose tag is v1\.2\.3"):
        release.check_names(checkout(), "v1.2.4")
    with pytest.raises(release.Wrong, match="unreleased"):
        release.check_names(checkout(changelog="## 1.2.3 - unreleased\n"), "v1.2.3")


def test_a_wheel_with_the_package_and_nothing_else_passes(tmp_path):
    assert "of 7" in release.check_wheel(wheel(tmp_path / "a.whl", {}), release.NEEDED)


@pytest.mark.parametrize(
    ("names", "metadata", "says"),
    [
        ({"tests/test_a.py": b""}, "License-Expression: Apache-2.0", "tests/test_a.py"),
        ({"million_ird/stray.txt": b""}, "License-Expression: Apache-2.0", "stray.txt"),
        ({}, "Name: million-ird", "no licence"),
        ({}, "License-Expression: Apache-2.0\nRequires-Dist: torch>=2\n", "needs torch"),
    ],
)
def test_a_wheel_with_too_much_or_without_licence_is_refused(tmp_path, names, metadata, says):
    with pytest.raises(release.Wrong, match=says):
        release.check_wheel(wheel(tmp_path / "a.whl", names, metadata), release.NEEDED)


def test_a_wheel_without_the_notice_of_whose_weights_it_builds_on_is_refused(tmp_path):
    with pytest.raises(release.Wrong, match="NOTICE"):
        release.check_wheel(wheel(tmp_path / "a.whl", {}, licences=("LICENSE",)), release.NEEDED)
    assert "PP-OCRv4" in (ROOT / "NOTICE").read_text()


def test_a_large_file_and_a_lost_one_are_refused(tmp_path):
    large = {"million_ird/large.bin": bytes(release.MOST_FILE + 1)}
    with pytest.raises(release.Wrong, match=r"large\.bin has 1,000,001 bytes"):
        release.check_wheel(wheel(tmp_path / "a.whl", large), {*release.NEEDED, *large})
    with pytest.raises(release.Wrong, match=r"lacks \['million_ird/new\.py'\]"):
        release.check_wheel(wheel(tmp_path / "b.whl", {}), {*release.NEEDED, "million_ird/new.py"})
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("million_ird-1.0.0/README.md"), io.BytesIO())
    with pytest.raises(release.Wrong, match="lacks"):
        release.check_sdist(tmp_path / "c.tar.gz", release.NEEDED)


def test_what_a_wheel_needs_is_in_the_package():
    assert all((ROOT / name).is_file() for name in release.NEEDED)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_follow_the_schema_and_end_in_time(path):
    for schema in ("vendor.github-workflows", "custom.github-workflows-require-timeout"):
        command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_may_do_no_more_than_they_need(path):
    told = yaml.safe_load(path.read_text())
    assert told["permissions"] == {"contents": "read"}
    for job in told["jobs"].values():
        for step in job["steps"]:
            text = step.get("run", "")
            assert "${{" not in text, "a value from outside belongs into env, where no shell reads it"
            assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0
            assert step.get("with", {}).get("persist-credentials", False) is False
        writes = {name for name, right in job.get("permissions", {}).items() if right == "write"}
        assert writes <= {"id-token", "pages"}
        assert "secrets." not in str(job)


def test_workflows_run_what_is_here():
    text = "\n".join(path.read_text() for path in WORKFLOWS)
    for script in re.findall(r"(?:bash |python )((?:\.ci|scripts)/\S+)", text):
        assert (ROOT / script).is_file()
    targets = set(re.findall(r"^([\w-]+(?: [\w-]+)*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    known = {name for line in targets for name in line.split()}
    assert set(re.findall(r"\bmake ([\w-]+)", text)) <= known
    assert "check_release.py" in (ROOT / ".ci" / "run").read_text()


def test_the_citation_follows_its_schema():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.citation-file-format"]
    done = subprocess.run([*command, str(ROOT / "CITATION.cff")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
