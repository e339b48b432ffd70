"""`mird build` from URLs on a loopback server: speed, memory, failing hosts, and img2dataset on the same list.

    python benchmarks/fetch.py [--images 20000] [--peer-images 5000] [--no-peer]

The server (tests/sources/webserver.py) has a process of its own and serves 320x240 JPEGs of 25 kB. Prints images/s of
whole runs (fetched and measured; the command's own clock) with one worker, beside the same files read from a folder;
with 5 % of the hosts failing; peak memory by number of images; then both tools on one list of one host, raw bytes kept.
img2dataset is installed into a virtual environment of its own, where that works.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.sources.webserver import jpeg, numbered  # noqa: E402 (the path is needed first)

HOSTS = 100
RULES = {"policy": {"resolution": {"min_side": 96}}, "run": {"workers": 1}, "report": {"samples": 2}}


@contextmanager
def server(images: int, failing: float = 0.0) -> Iterator[int]:
    """The server's port."""
    call = [sys.executable, str(ROOT / "tests/sources/webserver.py"), "--images", str(images), "--hosts", str(HOSTS)]
    process = subprocess.Popen([*call, "--failing", str(failing)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline().split()[2])
    finally:
        process.kill()
        process.wait()


def build(folder: Path, name: str, source: Path, **fetch: Any) -> dict[str, Any]:
    """One run of `mird build`: its summary, with the seconds of the measuring stage and the peak memory, MB."""
    hosts = {f"h{number}.test": "127.0.0.1" for number in range(HOSTS)}
    manners = {"private_hosts": True, "hosts": hosts, "host_rate": 0, "connect_seconds": 2, "read_seconds": 2}
    config = {**RULES, "fetch": {**manners, **fetch}}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(config))
    out = folder / name
    call = [sys.executable, "-m", "million_ird", "build", str(source), "--out", str(out), "--json", "-q"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen([*call, "--config", str(folder / f"{name}.yaml")], stdout=subprocess.PIPE, text=True)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, tree_memory(process.pid))
        time.sleep(0.05)
    assert process.stdout is not None
    summary = json.loads(process.stdout.read())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    events = [json.loads(line) for line in (out / "run.jsonl").read_text().splitlines()]
    moments = {event["event"]: event["time"] for event in events}  # the last of each kind
    summary["measuring"] = seconds_between(moments["plan"], moments["shard"])
    summary["cpu"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    summary["peak"] = peak
    shutil.rmtree(out)
    return summary


def tree_memory(pid: int) -> float:
    """Resident memory of a process and its children, MB."""
    import psutil

    try:
        process = psutil.Process(pid)
        return sum(one.memory_info().rss for one in (process, *process.children(recursive=True))) / 1e6
    except psutil.Error:
        return 0.0


def seconds_between(first: str, last: str) -> float:
    """Of two moments as run.jsonl writes them."""
    from datetime import datetime

    return (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()


def urls(folder: Path, port: int, images: int, host: str = "") -> Path:
    """A list of all images, over all hosts by turns."""
    path = folder / f"urls-{images}-{port}.txt"
    path.write_text("".join(f"http://{host or f'h{n % HOSTS}.test'}:{port}/{n}.jpg\n" for n in range(images)))
    return path


def peer(folder: Path, source: Path) -> tuple[float, int] | None:
    """Wall seconds and successes of img2dataset with raw bytes, one process; None where it cannot be had."""
    home = folder / "peer"
    uv = Path(sys.executable).with_name("uv")
    made = subprocess.run([str(uv), "venv", "-q", "-p", sys.executable, str(home)], check=False).returncode == 0
    install = [str(uv), "pip", "install", "-q", "--python", str(home / "bin/python"), "img2dataset"]
    if not made or subprocess.run(install, check=False).returncode:
        return None
    call = f"""
from img2dataset import download
if __name__ == "__main__":
    download(url_list={str(source)!r}, output_folder={str(folder / "peer-out")!r}, output_format="webdataset",
             input_format="txt", processes_count=1, thread_count=64, resize_mode="no", skip_reencode=True,
             retries=0, timeout=10, number_sample_per_shard=1000, enable_wandb=False)
"""
    (folder / "peer.py").write_text(call)
    began = time.monotonic()
    done = subprocess.run(
        [str(home / "bin/python"), str(folder / "peer.py")], capture_output=True, check=False, text=True
    )
    seconds = time.monotonic() - began
    if done.returncode:
        print(f"img2dataset fails here: {done.stderr.strip().splitlines()[-1:]}")
        return None
    found = [json.loads(path.read_text()) for path in (folder / "peer-out").glob("*_stats.json")]
    return seconds, sum(one["successes"] for one in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--peer-images", type=int, default=5000)
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--only-failing", action="store_true", help="the comparison of failing hosts alone")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {date.today()}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.only_failing:
            failing_hosts(folder, args.images)
            return
        local = folder / "local"
        local.mkdir()
        for number in range(args.images):
            (local / f"{number}.jpg").write_bytes(numbered(jpeg(number % 200), number))
        base = build(folder, "from-disk", local)
        show("folder", args.images, base)
        with server(args.images) as port:
            quarter = build(folder, "quarter", urls(folder, port, args.images // 4))
            show(f"web, {args.images // 4:,}", args.images // 4, quarter)
            web = build(folder, "from-web", urls(folder, port, args.images))
            show("web", args.images, web, base)
        failing_hosts(folder, args.images)
        if not args.no_peer:
            against(folder, args.peer_images)


def failing_hosts(folder: Path, images: int) -> None:
    """The same list with all hosts well, and with 5 % of them failing."""
    with server(images) as port:
        well = build(folder, "well", urls(folder, port, images))
        show("all hosts well", images, well)
    with server(images, failing=0.05) as port:
        show("5 % failing", images, build(folder, "failing", urls(folder, port, images)), well)


def show(name: str, images: int, found: dict[str, Any], other: dict[str, Any] | None = None) -> None:
    """One line of results."""
    ratio = f", {other['measuring'] / found['measuring']:.2f}x" if other else ""
    print(
        f"{name:18} {images / found['measuring']:7.0f} images/s{ratio}, {images / found['cpu']:6.0f} per CPU second of "
        f"the whole run, {found['peak']:5.0f} MB, read {usable(found):,} of {found['inputs']:,}",
        flush=True,
    )


def usable(found: dict[str, Any]) -> int:
    """Inputs whose bytes were read."""
    return found["inputs"] - sum(found["reasons"].get(status, 0) for status in ("fetch_failed", "blocked", "truncated"))


def against(folder: Path, images: int) -> None:
    """Both tools on the same list of one host."""
    with server(images) as port:
        source = urls(folder, port, images, "127.0.0.1")
        ours = build(folder, "ours", source, per_host=64)
        theirs = peer(folder, source)
    show("one host", images, ours)
    if theirs is None:
        print("img2dataset cannot be had here")
        return
    seconds, good = theirs
    print(
        f"img2dataset        {images / seconds:7.0f} images/s (fetched, not measured), {good:,} of {images:,} fetched; "
        f"ours {ours['seconds']:.1f} s in all against {seconds:.1f} s: {seconds / ours['seconds']:.2f}x"
    )


if __name__ == "__main__":
    main()
