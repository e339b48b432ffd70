"""`mird publish dataset`: what goes up is what was built, to whom it was meant for, and only after all checks.

The client is the real one; the Hub is a server on loopback.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from million_ird import publish
from million_ird.curate import build
from million_ird.curate.remove import remove
from million_ird.curate.stages import decide
from million_ird.errors import ConfigError, InputError, OutputError
from million_ird.publish.hub import Target, files_in, upload
from million_ird.publish.outcome import Unfit
from tests.conftest import SMALL
from tests.publish.conftest import LICENCE, TOKEN

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:datasets"),
    pytest.mark.filterwarnings("ignore:Use .content=:DeprecationWarning"),  # of the client's own PUT
]
REPO = "org/crops"


def digest(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def head(text: str) -> dict:
    return yaml.safe_load(text.split("---\n")[1])


def kept(out: Path) -> set[str]:
    table = pq.ParquetFile(out / "decisions.parquet").read()
    return {row["id"] for row in table.to_pylist() if row["keep"]}


def test_what_goes_up_is_private_and_comes_back_as_it_was(hub, built, tmp_path):
    done = publish.dataset(built, REPO, contact="someone@example.org")
    repo = hub.repos[REPO]
    assert done.private and repo.private and done.changed
    assert done.commit == repo.refs["main"] and done.address == f"{hub.endpoint}/datasets/{REPO}"
    sent = {name: data for name, data in repo.files.items() if name != ".gitattributes"}
    assert sent == {name: (built / "dataset" / name).read_bytes() for name in files_in(built / "dataset")}
    assert {"README.md", "build.yaml", "card/blur.png", "data/train-00000-of-00001.parquet"} <= set(sent)
    rows = loaded(hub, tmp_path)
    assert {row["id"] for row in rows} == kept(built) and rows[0]["size"] == [160, 160]
    assert {json.loads(row["meta"])["licence"] for row in rows} == {LICENCE}


def loaded(hub, tmp_path) -> list[dict]:
    """What the `datasets` library reads from the Hub, in a process of its own: it asks for the address once."""
    code = (
        "import json\nfrom datasets import load_dataset\nrows = load_dataset('org/crops', split='train')\n"
        "print(json.dumps([{'id': row['id'], 'meta': row['meta'], 'size': row['image'].size} for row in rows]))"
    )
    environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_card_tells_all_and_its_head_is_what_the_hub_reads(hub, built):
    from huggingface_hub import DatasetCard

    done = publish.dataset(built, REPO, contact="someone@example.org")
    text = hub.repos[REPO].files["README.md"].decode()
    DatasetCard(text).validate(repo_type="dataset")
    about = head(text)
    count = len(kept(built))
    assert about["license"] == "cc-by-4.0" and about["size_categories"] == ["n<1K"]
    assert about["configs"][0]["data_files"] == [{"split": "train", "path": "data/train-*.parquet"}]
    assert about["dataset_info"]["splits"][0]["num_examples"] == count
    assert about["dataset_info"]["features"][:2] == [
        {"name": "image", "dtype": "image"},
        {"name": "id", "dtype": "string"},
    ]
    assert "# Ten \\| crops" in text and f"**{count}**" in text
    for words in ("`policy.blur.min`", "card/blur.png", "were not compared with test sets", "someone@example.org"):
        assert words in text
    for words in ("mird remove", f'load_dataset("{REPO}"', "@misc{org-crops", "CC BY 4.0: "):
        assert words in text
    config = hub.repos[REPO].files["build.yaml"].decode()
    named = hashlib.blake2b(config.encode(), digest_size=8).hexdigest()
    assert named in text and hub.repos[REPO].messages == [
        f"mird publish dataset: {count} images, configuration {named}"
    ]
    assert done.files["build.yaml"] == len(config)


def test_nothing_of_this_machine_and_no_token_goes_out(hub, built, capfd):
    publish.dataset(built, REPO)
    everything = b"".join(hub.repos[REPO].files.values())
    assert str(built.parent).encode() not in everything and str(built.parents[1]).encode() not in everything
    written = b"".join(path.read_bytes() for path in built.rglob("*") if path.is_file())
    said = "".join(capfd.readouterr())
    assert TOKEN.encode() not in everything + written and TOKEN not in said


def test_the_published_configuration_builds_the_same_dataset(hub, built, licensed, tmp_path):
    publish.dataset(built, REPO)
    (tmp_path / "build.yaml").write_bytes(hub.repos[REPO].files["build.yaml"])
    again = yaml.safe_load((tmp_path / "build.yaml").read_text())
    assert again["sources"]["paths"] == ["photos.parquet"]
    build([licensed.parent / "photos.parquet"], tmp_path / "again", {**again, "run": SMALL["run"]})
    data = "dataset/data/train-00000-of-00001.parquet"
    assert (tmp_path / "again" / data).read_bytes() == (built / data).read_bytes()


def test_only_what_changed_is_sent_again(hub, built):
    publish.dataset(built, REPO)
    first = hub.repos[REPO].refs["main"]
    hub.requests.clear()
    again = publish.dataset(built, REPO)
    assert not again.changed and again.commit == first
    assert not hub.sent("PUT /objects/") and not hub.sent("POST /commit/")
    again = publish.dataset(built, REPO, contact="another@example.org")
    assert again.changed and not hub.sent("PUT /objects/") and len(hub.sent("POST /commit/")) == 1
    before, now = hub.repos[REPO].commits[first], hub.repos[REPO].files
    assert [name for name in now if now[name] != before[name]] == ["README.md"]


def test_what_the_dataset_has_no_more_goes_from_the_repository(hub, built):
    publish.dataset(built, REPO)
    repo = hub.repos[REPO]
    repo.commit({**repo.files, "data/train-00001-of-00002.parquet": b"x", "card/old.png": b"x", "NOTES.md": b"x"})
    publish.dataset(built, REPO)
    assert {"data/train-00001-of-00002.parquet", "card/old.png"}.isdisjoint(repo.files)
    assert "NOTES.md" in repo.files and "data/train-00000-of-00001.parquet" in repo.files


@pytest.mark.parametrize("made", ["before", "now"])
def test_a_public_repository_gets_nothing_unless_it_was_asked_for(hub, built, made):
    if made == "before":
        hub.add(REPO, {"a.txt": b"x"})
    hub.opens = True
    with pytest.raises(OutputError, match="is public on the Hub, and --public was not given: nothing was sent"):
        publish.dataset(built, REPO)
    assert [request.path for request in hub.requests if request.method != "GET"] == ["/api/repos/create"]
    done = publish.dataset(built, REPO, public=True)
    assert not done.private and not hub.repos[REPO].private and not done.warnings


def test_asking_for_public_never_opens_a_private_repository(hub, built):
    publish.dataset(built, REPO)
    done = publish.dataset(built, REPO, public=True)
    assert done.private and hub.repos[REPO].private
    assert "is private on the Hub" in done.warnings[0]


def test_a_dry_run_lists_files_and_bytes_and_touches_nothing(hub, built):
    before = digest(built)
    found = publish.dataset(built, REPO, dry_run=True)
    assert digest(built) == before and not hub.requests
    assert not found.problems and not found.address
    publish.dataset(built, REPO)
    assert found.files == files_in(built / "dataset") and found.bytes == sum(found.files.values())


def test_a_branch_is_made_and_a_pull_request_opened(hub, built):
    publish.dataset(built, REPO, revision="v2")
    repo = hub.repos[REPO]
    assert "README.md" in repo.commits[repo.refs["v2"]] and "README.md" not in repo.files
    done = publish.dataset(built, REPO, create_pr=True)
    assert done.pull_request.endswith("/discussions/1") and "README.md" not in repo.files
    assert "README.md" in repo.commits[repo.refs["refs/pr/1"]]
    with pytest.raises(ConfigError, match="--create-pr and --revision"):
        publish.dataset(built, REPO, create_pr=True, revision="v2")


@pytest.mark.parametrize("name", ["crops", "org/", "org/a b", "../x", "org/a--b", "https://hf.co/org/x"])
def test_a_name_that_is_none_is_refused_before_all_else(name):
    with pytest.raises(ConfigError, match="--repo"):
        publish.dataset("nowhere", name)


def test_files_within_the_commit_go_up_too(hub, built):
    hub.mode = "regular"
    publish.dataset(built, REPO)
    assert not hub.sent("PUT /objects/")
    assert hub.repos[REPO].files["card/blur.png"] == (built / "dataset/card/blur.png").read_bytes()


@pytest.mark.timeout(120)
def test_the_clients_own_pipeline_stores_what_the_commit_names(hub, built, tmp_path, monkeypatch):
    pytest.importorskip("hf_xet")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    hub.mode, hub.cas = "xet", str(tmp_path / "cas")
    (tmp_path / "cas").mkdir()
    done = publish.dataset(built, REPO)
    name = "data/train-00000-of-00001.parquet"
    data = (built / "dataset" / name).read_bytes()
    held = hub.repos[REPO].files[name]
    assert (held.sha256, held.size) == (hashlib.sha256(data).hexdigest(), len(data))
    assert sum(path.stat().st_size for path in (tmp_path / "cas").rglob("*") if path.is_file()) > len(data) / 2
    again = publish.dataset(built, REPO)
    assert not again.changed and again.commit == done.commit


def parts(folder: Path, count: int) -> dict[str, int]:
    for number in range(count):
        path = folder / "data" / f"{number}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(np.random.default_rng(number).bytes(1000 + number))
    return files_in(folder)


def test_an_upload_that_broke_off_goes_on_where_it_was(hub, tmp_path):
    files = parts(tmp_path / "set", 6)
    target = Target(REPO, "dataset")
    hub.fail("commit", 500, times=20)
    with pytest.raises(OutputError, match=r"answers 500; later run the same command again"):
        upload(tmp_path / "set", files, target, "message", ())
    assert "data/0.parquet" not in hub.repos[REPO].files
    assert len(hub.repos[REPO].objects) == 6
    hub._faults.clear()
    hub.requests.clear()
    upload(tmp_path / "set", files, target, "message", ())
    assert not hub.sent("PUT /objects/") and set(files) <= hub.repos[REPO].files.keys()


@pytest.mark.slow
def test_a_killed_upload_goes_on_where_it_was(hub, built, tmp_path):
    environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-m", "million_ird", "publish", "dataset", str(built), "--repo", REPO]
    killed = []

    def kill(route, repo):
        if route == "put" and repo and len(repo.objects) >= 2 and not killed:
            killed.append(process.pid)
            os.kill(process.pid, signal.SIGKILL)

    hub.before = kill
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL and killed
    had = len(hub.repos[REPO].objects)
    assert had >= 2 and "README.md" not in hub.repos[REPO].files
    hub.requests.clear()
    done = subprocess.run(
        [*command, "--json"], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["commit"] == hub.repos[REPO].refs["main"]
    assert len(hub.sent("PUT /objects/")) == len(hub.repos[REPO].objects) - had
    assert TOKEN not in done.stdout + done.stderr


ANSWERS = {
    ("create", 403): "may not write there",
    ("preupload", 401): "does not accept the token",
    ("preupload", 403): "may not write there",
    ("put", 403): "may not write there",
    ("batch", 429): "fewer requests",
    ("preupload", 500): "the Hub answers 500",
    ("commit", 409): "conflict",
    ("commit", 403): "may not write there",
}


@pytest.mark.parametrize(("route", "status"), ANSWERS)
def test_what_the_hub_refuses_is_one_line_with_a_remedy(hub, tmp_path, route, status):
    files = parts(tmp_path / "set", 2)
    hub.fail(route, status, times=30)
    with pytest.raises(OutputError) as error:
        upload(tmp_path / "set", files, Target(REPO, "dataset"), "message", ())
    said = str(error.value)
    assert ANSWERS[route, status] in said and REPO in said and "\n" not in said and TOKEN not in said
    hub._faults.clear()
    upload(tmp_path / "set", files, Target(REPO, "dataset"), "message", ())
    assert set(files) <= hub.repos[REPO].files.keys()


def test_a_repository_that_someone_else_changes_meanwhile_is_left_alone(hub, tmp_path):
    files = parts(tmp_path / "set", 2)

    def interfere(route, repo):
        if route == "commit":
            repo.commit({"theirs.txt": b"x"})
            hub.before = lambda route, repo: None

    hub.before = interfere
    with pytest.raises(OutputError, match="changed by someone else in the meantime"):
        upload(tmp_path / "set", files, Target(REPO, "dataset"), "message", ())
    assert hub.repos[REPO].files == {"theirs.txt": b"x"}


def test_without_a_login_or_with_a_wrong_one_it_says_so(hub, tmp_path, monkeypatch):
    files = parts(tmp_path / "set", 1)
    monkeypatch.setenv("HF_TOKEN", "hf_wrongwrong")
    with pytest.raises(OutputError, match="does not accept the token; run `hf auth login`") as error:
        upload(tmp_path / "set", files, Target(REPO, "dataset"), "message", ())
    assert "hf_wrong" not in str(error.value)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(OutputError, match="not logged in to the Hub"):
        upload(tmp_path / "set", files, Target(REPO, "dataset"), "message", ())


def test_a_repository_that_holds_something_else_afterwards_is_said(hub, tmp_path):
    files = parts(tmp_path / "set", 2)

    def lose(route, repo):
        if route == "tree":
            sha = repo.refs["main"]
            repo.commits[sha] = {name: data for name, data in repo.commits[sha].items() if name != "data/1.parquet"}

    hub.before = lose
    with pytest.raises(OutputError, match=r"1 files differ from those here, first: data/1\.parquet"):
        upload(tmp_path / "set", files, Target(REPO, "dataset"), "message", ())


def problems(hub, out: Path, **options) -> str:
    """Why publishing is refused, a line each, in earnest and as a dry run, before the Hub is asked anything."""
    with pytest.raises(Unfit) as error:
        publish.dataset(out, REPO, **options)
    assert all("\n" not in problem for problem in error.value.problems)
    assert publish.dataset(out, REPO, dry_run=True, **options).problems == error.value.problems
    assert not hub.requests
    return "\n".join(error.value.problems)


def test_rows_without_a_licence_are_refused_unless_they_are_allowed(hub, corpus, tmp_path):
    build([corpus], tmp_path / "out", SMALL)
    count = len(kept(tmp_path / "out"))
    assert f"{count} of {count} rows name no licence" in problems(hub, tmp_path / "out")
    assert publish.dataset(tmp_path / "out", REPO, allow_unknown_licence=True).changed
    assert head(hub.repos[REPO].files["README.md"].decode())["license_name"] == "see-sources"


def located(data: bytes, form: str) -> bytes:
    """The same picture, with the place where it was taken."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (47.0, 22.0, 1.0), 3: "E", 4: (8.0, 32.0, 2.0)}
    out = io.BytesIO()
    image.save(out, form, exif=exif, quality=95)
    return out.getvalue()


def test_pictures_that_say_where_they_were_taken_are_refused_until_they_are_stripped(hub, corpus, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, form in (("01.jpg", "JPEG"), ("00.png", "PNG"), ("02.webp", "WEBP")):
        (folder / name).write_bytes(located((corpus / name).read_bytes(), form))
    (folder / "04.jpg").write_bytes((corpus / "04.jpg").read_bytes())
    build([folder], tmp_path / "out", SMALL)
    assert len(kept(tmp_path / "out")) == 4
    assert "3 of 4 images say where they were taken (GPS)" in problems(
        hub, tmp_path / "out", allow_unknown_licence=True
    )
    remedy = "--set export.image=strip; first: 00.png, 01.jpg, 02.webp"
    assert remedy in problems(hub, tmp_path / "out", allow_unknown_licence=True)
    build([folder], tmp_path / "out", {**SMALL, "export": {"image": "strip"}})
    assert publish.dataset(tmp_path / "out", REPO, allow_unknown_licence=True).changed


def test_what_was_removed_is_in_no_later_version(hub, built):
    publish.dataset(built, REPO)
    victim, count = min(kept(built)), len(kept(built))
    old = (built / "dataset" / "data" / "train-00000-of-00001.parquet").read_bytes()
    remove(built, [victim])
    warned = publish.dataset(built, REPO).warnings
    table = pq.read_table(io.BytesIO(hub.repos[REPO].files["data/train-00000-of-00001.parquet"]))
    assert victim not in table.column("id").to_pylist()
    assert "older commits" in warned[0]
    (built / "dataset" / "data" / "train-00000-of-00001.parquet").write_bytes(old)
    hub.requests.clear()
    assert f"1 of {count} rows were taken out by `mird remove`" in problems(hub, built)


def test_a_dataset_of_former_decisions_is_refused(hub, built):
    from million_ird.curate.settings import load_config

    strict = ["policy.blur.min=1e9"]
    decide(built, lambda stored: load_config(stored.model_dump(mode="json"), None, strict))
    assert "rows are not kept by decisions.parquet: run `mird build --out" in problems(hub, built)


def test_a_path_of_this_machine_in_the_rows_is_refused(hub, built):
    path = built / "dataset" / "data" / "train-00000-of-00001.parquet"
    table = pq.read_table(path)
    metas = table.column("meta").to_pylist()
    metas[3] = json.dumps({**json.loads(metas[3]), "file": "/home/ann/photos/x.jpg"})
    column = table.schema.get_field_index("meta")
    pq.write_table(table.set_column(column, "meta", [metas]), path)
    assert f"1 of {len(metas)} rows hold a path of this machine" in problems(hub, built)


def test_a_damaged_dataset_is_refused(hub, built):
    path = built / "dataset" / "data" / "train-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(OutputError, match="cannot be read"):
        publish.dataset(built, REPO)
    assert not hub.requests


def test_what_is_no_finished_build_is_said(tmp_path, licensed):
    with pytest.raises(InputError, match="no build here"):
        publish.dataset(tmp_path, REPO)
    (tmp_path / "build.yaml").write_bytes((licensed / "build.yaml").read_bytes())
    with pytest.raises(InputError, match="not finished"):
        publish.dataset(tmp_path, REPO)


@pytest.mark.parametrize("form", ["webdataset", "imagefolder"])
def test_other_formats_are_checked_and_go_up(hub, licensed, tmp_path, form):
    source = licensed.parent / "photos.parquet"
    build([source], tmp_path / "out", {**SMALL, "export": {"format": form}})
    publish.dataset(tmp_path / "out", REPO)
    names = [name for name in hub.repos[REPO].files if name.startswith("data/")]
    assert names == [name for name in files_in(tmp_path / "out" / "dataset") if name.startswith("data/")]
