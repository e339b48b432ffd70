"""A Hub on loopback, by the standard library alone: as much of it as reading datasets takes.

with HubServer() as hub:
    hub.add("org/name", {"data/train-00000.parquet": b"..."}, license="cc0-1.0")
    hub.endpoint  # for HF_ENDPOINT
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Repo:
    """A dataset: its files by commit, and the names that stand for commits."""

    name: str
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)
    private: bool = False
    gated: str | bool = False
    allowed: set[str] = field(default_factory=set)

    def commit(self, files: dict[str, bytes], ref: str = "main") -> str:
        """Another commit, with just these files; gives its 40 hex digits."""
        seed = f"{self.name}{len(self.commits)}{sorted(files)}".encode()
        sha = hashlib.sha1(seed, usedforsecurity=False).hexdigest()
        self.commits[sha] = dict(files)
        self.refs[ref] = sha
        return sha


@dataclass
class Request:
    """One request that was answered."""

    method: str
    path: str
    status: int
    range: str
    sent: int


class HubServer:
    """The server; `add` puts datasets on it, `requests` is its log, `token` what it takes for private and gated ones.

    Attributes:
        page: entries of a listing per answer.
        broken: status that every request gets, 0 = as it should be.
    """

    def __init__(self, token: str = "hf_test") -> None:
        self.token = token
        self.repos: dict[str, Repo] = {}
        self.requests: list[Request] = []
        self.page = 1000
        self.broken = 0
        hub = self

        class Handler(_Handler):
            server_hub = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def add(
        self, name: str, files: dict[str, bytes], *, private: bool = False, gated: bool = False, **card: Any
    ) -> Repo:
        """A dataset with one commit, on main."""
        repo = self.repos[name] = Repo(name, card=card, private=private, gated="manual" if gated else False)
        repo.commit(files)
        return repo

    def __enter__(self) -> HubServer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, message or code


class _Handler(BaseHTTPRequestHandler):
    server_hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        url = urlsplit(self.path)
        try:
            if self.server_hub.broken:
                raise Refused(self.server_hub.broken, "", "broken on demand")
            for pattern, name in _ROUTES:
                if match := re.fullmatch(pattern, url.path):
                    parts = {key: unquote(value) for key, value in match.groupdict(default="").items()}
                    repo = self._repo(parts.pop("id"), name)
                    return getattr(self, f"_{name}")(repo, parse_qs(url.query), body, **parts)
            raise Refused(404, "", "no such route")
        except Refused as refused:
            error = {"X-Error-Code": refused.code, "X-Error-Message": refused.message}
            self._send(refused.status, json.dumps({"error": refused.message}).encode(), error)

    def _repo(self, name: str, route: str) -> Repo:
        repo = self.server_hub.repos.get(name)
        authorization = self.headers.get("Authorization", "")
        known = authorization == f"Bearer {self.server_hub.token}"
        if authorization and not known:
            raise Refused(401, "", "Invalid credentials in Authorization header")
        if repo is None or (repo.private and not known):
            raise Refused(404 if known else 401, "RepoNotFound", "Repository not found")
        if repo.gated and route in ("resolve", "auth") and not (known and self.server_hub.token in repo.allowed):
            raise Refused(403, "GatedRepo", "Access to this dataset is restricted")
        return repo

    def _files(self, repo: Repo, revision: str) -> tuple[str, dict[str, bytes]]:
        sha = repo.refs.get(revision, revision)
        if sha not in repo.commits:
            raise Refused(404, "RevisionNotFound", "Invalid rev id")
        return sha, repo.commits[sha]

    def _info(self, repo: Repo, query: Any, body: bytes, revision: str) -> None:
        sha, files = self._files(repo, revision or "main")
        siblings = [{"rfilename": path} for path in sorted(files)]
        about = {"id": repo.name, "sha": sha, "private": repo.private, "gated": repo.gated, "cardData": repo.card}
        self._json({**about, "siblings": siblings, "tags": [], "downloads": 0, "likes": 0})

    def _auth(self, repo: Repo, query: Any, body: bytes) -> None:
        self._json({})

    def _tree(self, repo: Repo, query: Any, body: bytes, revision: str, path: str) -> None:
        _, files = self._files(repo, revision)
        entries = _entries(files, path, query.get("recursive", ["false"])[0].lower() == "true")
        if not entries:
            raise Refused(404, "EntryNotFound", "No such file or directory")
        start, page = int(query.get("cursor", ["0"])[0]), self.server_hub.page
        headers = {}
        if start + page < len(entries):
            kept = "&".join(f"{key}={value[0]}" for key, value in query.items() if key != "cursor")
            address = f"{self.server_hub.endpoint}{urlsplit(self.path).path}?{kept}&cursor={start + page}"
            headers["Link"] = f'<{address}>; rel="next"'
        self._json(entries[start : start + page], headers)

    def _paths(self, repo: Repo, query: Any, body: bytes, revision: str) -> None:
        _, files = self._files(repo, revision)
        asked = json.loads(body) if body.startswith(b"{") else parse_qs(body.decode())
        paths = asked["paths"] if isinstance(asked["paths"], list) else [asked["paths"]]
        self._json([entry for entry in _entries(files, "", True) if entry["path"] in paths])

    def _resolve(self, repo: Repo, query: Any, body: bytes, revision: str, path: str) -> None:
        sha, files = self._files(repo, revision)
        if path not in files:
            raise Refused(404, "EntryNotFound", "Entry not found")
        data = files[path]
        headers = {"ETag": f'"{_oid(data)}"', "X-Repo-Commit": sha, "Accept-Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not asked:
            return self._send(200, data, headers)
        first, last = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
        if first >= len(data):
            return self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
        self._send(206, data[first : last + 1], headers | {"Content-Range": f"bytes {first}-{last}/{len(data)}"})

    def _json(self, value: Any, headers: dict[str, str] | None = None) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        body = b"" if self.command == "HEAD" else data
        asked = self.headers.get("Range", "")
        self.server_hub.requests.append(Request(self.command, self.path, status, asked, len(body)))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(body)


_ID = r"/api/datasets/(?P<id>[^/]+/[^/]+)"
_ROUTES = [
    (rf"{_ID}/tree/(?P<revision>[^/]+)(?:/(?P<path>.+))?", "tree"),
    (rf"{_ID}/paths-info/(?P<revision>[^/]+)", "paths"),
    (rf"{_ID}/auth-check", "auth"),
    (rf"{_ID}(?:/revision/(?P<revision>[^/]+))?", "info"),
    (r"/datasets/(?P<id>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
]


def _oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _entries(files: dict[str, bytes], folder: str, recursive: bool) -> list[dict[str, Any]]:
    """What lies below a folder, as the Hub lists it."""
    prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
    entries: dict[str, dict[str, Any]] = {}
    for path, data in sorted(files.items()):
        if not path.startswith(prefix):
            continue
        parts = path[len(prefix) :].split("/")
        for depth in range(1, len(parts)):
            parent = prefix + "/".join(parts[:depth])
            entries.setdefault(parent, {"type": "directory", "path": parent, "size": 0, "oid": _oid(parent.encode())})
        entries[path] = {"type": "file", "path": path, "size": len(data), "oid": _oid(data)}
    return [entry for path, entry in entries.items() if recursive or "/" not in path[len(prefix) :]]
