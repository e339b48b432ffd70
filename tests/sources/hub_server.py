"""A Hub on loopback, by the standard library alone: as much of it as reading and publishing take.

with HubServer() as hub:
    hub.add("org/name", {"data/train-00000.parquet": b"..."}, license="cc0-1.0")
    hub.endpoint  # for HF_ENDPOINT
    hub.fail("commit", 500)  # the next one

What is uploaded goes one of three ways (`hub.mode`): "lfs", large files by PUT; "regular", all within the commit;
"xet", by hf_xet into the folder `hub.cas`, of which the Hub is told hashes alone.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


class Pointer(bytes):
    """A file that lies elsewhere: what the Hub knows of it."""

    sha256: str
    size: int

    @classmethod
    def of(cls, sha256: str, size: int) -> Pointer:
        pointer = cls()
        pointer.sha256, pointer.size = sha256, size
        return pointer


@dataclass
class Repo:
    """A dataset or a model: its files by commit, and the names that stand for commits."""

    name: str
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)
    private: bool = False
    gated: str | bool = False
    allowed: set[str] = field(default_factory=set)
    kind: str = "datasets"
    messages: list[str] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)
    pulls: int = 0

    @property
    def files(self) -> dict[str, bytes]:
        """Those of main."""
        return self.commits[self.refs["main"]]

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
        mode: how files are uploaded: "lfs", "regular" or "xet".
        cas: folder that hf_xet writes to, in that mode.
        opens: whether new repositories are public whatever is asked for.
        before: called with the name of each route and its repository, before it is answered.
    """

    def __init__(self, token: str = "hf_test") -> None:
        self.token = token
        self.repos: dict[str, Repo] = {}
        self.requests: list[Request] = []
        self.page = 1000
        self.broken = 0
        self.mode = "lfs"
        self.cas = ""
        self.opens = False
        self.before: Callable[[str, Repo | None], None] = lambda route, repo: None
        self._faults: list[tuple[str, int]] = []
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

    def fail(self, route: str, status: int, times: int = 1) -> None:
        """Refuse the next so many requests of a route: "create", "preupload", "batch", "put", "commit", ..."""
        self._faults += [(route, status)] * times

    def fault(self, route: str) -> int:
        """The status that a request of a route is refused with, 0 = none."""
        for number, (name, status) in enumerate(self._faults):
            if name == route:
                del self._faults[number]
                return status
        return 0

    def sent(self, route: str) -> list[Request]:
        """The requests of a kind that changes something: "PUT /objects/", "POST /commit/", ..."""
        method, _, part = route.partition(" ")
        return [request for request in self.requests if request.method == method and part in request.path]

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

    def do_PUT(self) -> None:
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
                    kind = parts.pop("kind", "datasets") or "models"
                    repo = self._repo(parts.pop("id"), name, kind.strip("/")) if "id" in parts else None
                    self.server_hub.before(name, repo)
                    if status := self.server_hub.fault(name):
                        raise Refused(status, "", "refused on demand")
                    return getattr(self, f"_{name}")(repo, parse_qs(url.query), body, **parts)
            raise Refused(404, "", "no such route")
        except Refused as refused:
            error = {"X-Error-Code": refused.code, "X-Error-Message": refused.message}
            self._send(refused.status, json.dumps({"error": refused.message}).encode(), error)

    def _known(self) -> bool:
        """Whether who asks has the token."""
        authorization = self.headers.get("Authorization", "")
        known = authorization == f"Bearer {self.server_hub.token}"
        if authorization and not known:
            raise Refused(401, "", "Invalid credentials in Authorization header")
        return known

    def _repo(self, name: str, route: str, kind: str) -> Repo:
        repo = self.server_hub.repos.get(name if kind == "datasets" else f"{kind}/{name}")
        known = self._known() or route == "put"  # the address is the leave
        if repo is None or (repo.private and not known):
            raise Refused(404 if known else 401, "RepoNotFound", "Repository not found")
        if route in _WRITES and not known:
            raise Refused(401, "", "Invalid username or password.")
        if repo.gated and route in ("resolve", "auth") and not (known and self.server_hub.token in repo.allowed):
            raise Refused(403, "GatedRepo", "Access to this dataset is restricted")
        return repo

    def _files(self, repo: Repo, revision: str) -> tuple[str, dict[str, bytes]]:
        sha = repo.refs.get(revision, revision)
        if sha not in repo.commits:
            raise Refused(404, "RevisionNotFound", "Invalid rev id")
        return sha, repo.commits[sha]

    def _whoami(self, repo: None, query: Any, body: bytes) -> None:
        if not self._known():
            raise Refused(401, "", "Invalid username or password.")
        self._json({"type": "user", "name": "org", "orgs": []})

    def _create(self, repo: None, query: Any, body: bytes) -> None:
        if not self._known():
            raise Refused(401, "", "Invalid username or password.")
        hub, asked = self.server_hub, json.loads(body)
        name, kind = f"{asked['organization']}/{asked['name']}", f"{asked.get('type') or 'model'}s"
        key = name if kind == "datasets" else f"{kind}/{name}"
        url = f"{hub.endpoint}/{'datasets/' if kind == 'datasets' else ''}{name}"
        if key in hub.repos:
            return self._json({"error": "You already created this repo", "url": url}, status=409)
        private = asked.get("visibility") == "private" and not hub.opens  # public unless it is asked for, as there
        hub.repos[key] = made = Repo(name, private=private, kind=kind)
        made.commit({".gitattributes": b"*.parquet filter=lfs\n"})
        self._json({"url": url, "name": name, "id": name})

    def _settings(self, repo: Repo, query: Any, body: bytes) -> None:
        asked = json.loads(body)
        repo.private = asked.get("private", asked.get("visibility") == "private")
        self._json({})

    def _branch(self, repo: Repo, query: Any, body: bytes, ref: str) -> None:
        if ref in repo.refs:
            raise Refused(409, "", "Reference already exists")
        repo.refs[ref] = repo.refs["main"]
        self._json({})

    def _discussions(self, repo: Repo, query: Any, body: bytes) -> None:
        repo.pulls += 1
        repo.refs[f"refs/pr/{repo.pulls}"] = repo.refs["main"]
        self._json({"num": repo.pulls})

    def _discussion(self, repo: Repo, query: Any, body: bytes, number: str) -> None:
        about = {"title": "x", "num": int(number), "author": {"name": "org"}, "createdAt": "2026-01-01T00:00:00.000Z"}
        about |= {"status": "draft", "isPullRequest": True, "events": [], "filesWithConflicts": []}
        self._json(
            {**about, "repo": {"name": repo.name, "type": repo.kind[:-1]}, "changes": {"base": "refs/heads/main"}}
        )

    def _yaml(self, repo: None, query: Any, body: bytes) -> None:
        text = json.loads(body)["content"]
        good = re.match(r"---\n.*?\n---", text, re.DOTALL) and "license:" in text
        errors = [] if good else [{"message": "license is required"}]
        self._json({"errors": errors, "warnings": []}, status=200 if good else 400)

    def _preupload(self, repo: Repo, query: Any, body: bytes, revision: str) -> None:
        _, files = self._files(repo, revision)
        answers = []
        for asked in json.loads(body)["files"]:
            path, large = asked["path"], self.server_hub.mode != "regular" and asked["path"].endswith(_LARGE)
            held = files.get(path)
            oid = None if held is None else (_sha256(held) if large else _oid(held))
            mode = "lfs" if large else "regular"
            answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self._json({"files": answers})

    def _xet(self, repo: Repo, query: Any, body: bytes, revision: str) -> None:
        cas, until = f"local://{self.server_hub.cas}", int(time.time()) + 3600
        headers = {"X-Xet-Cas-Url": cas, "X-Xet-Access-Token": "x", "X-Xet-Token-Expiration": str(until)}
        self._json({"casUrl": cas, "accessToken": "x", "exp": until}, headers)

    def _batch(self, repo: Repo, query: Any, body: bytes) -> None:
        objects = []
        for asked in json.loads(body)["objects"]:
            about: dict[str, Any] = {"oid": asked["oid"], "size": asked["size"]}
            if asked["oid"] not in repo.objects:
                root = f"{self.server_hub.endpoint}/objects/{repo.kind}/{repo.name}/{asked['oid']}"
                about["actions"] = {"upload": {"href": root}, "verify": {"href": f"{root}/verify"}}
            objects.append(about)
        self._json({"transfer": "basic", "objects": objects})

    def _put(self, repo: Repo, query: Any, body: bytes, oid: str) -> None:
        if _sha256(body) != oid:
            raise Refused(400, "", "wrong bytes")
        repo.objects[oid] = body
        self._json({})

    def _verify(self, repo: Repo, query: Any, body: bytes, oid: str) -> None:
        if oid not in repo.objects:
            raise Refused(404, "", "no such object")
        self._json({})

    def _commit(self, repo: Repo, query: Any, body: bytes, revision: str) -> None:
        sha, files = self._files(repo, revision)
        held = dict(files)
        lines = [json.loads(line) for line in body.splitlines()]
        about = next(line["value"] for line in lines if line["key"] == "header")
        if about.get("parentCommit") not in (None, sha):
            raise Refused(412, "", "A commit has happened since. Please refresh and try again.")
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                held[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile" and self.server_hub.mode == "xet":
                held[value["path"]] = Pointer.of(value["oid"], value["size"])
            elif line["key"] == "lfsFile":
                held[value["path"]] = repo.objects[value["oid"]]
            elif line["key"] in ("deletedFile", "deletedFolder"):
                held = {name: data for name, data in held.items() if not f"{name}/".startswith(f"{value['path']}/")}
        pull = {}
        if query.get("create_pr"):
            repo.pulls += 1
            revision = f"refs/pr/{repo.pulls}"
            pull = {"pullRequestUrl": f"{self._url(repo)}/discussions/{repo.pulls}"}
        made = repo.commit(held, revision)
        repo.messages.append(about["summary"])
        self._json({"commitOid": made, "commitUrl": f"{self._url(repo)}/commit/{made}", **pull})

    def _url(self, repo: Repo) -> str:
        return f"{self.server_hub.endpoint}/{'datasets/' if repo.kind == 'datasets' else ''}{repo.name}"

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

    def _json(self, value: Any, headers: dict[str, str] | None = None, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

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


_WRITES = ("preupload", "xet", "batch", "verify", "commit", "settings", "branch", "discussions")
_LARGE = (".parquet", ".tar", ".safetensors", ".png", ".jpg")
_ID = r"/api/(?P<kind>datasets|models)/(?P<id>[^/]+/[^/]+)"
_KIND = r"/(?P<kind>datasets/)?(?P<id>[^/]+/[^/]+)"
_ROUTES = [
    (r"/api/whoami-v2", "whoami"),
    (r"/api/repos/create", "create"),
    (r"/api/validate-yaml", "yaml"),
    (rf"{_ID}/tree/(?P<revision>[^/]+)(?:/(?P<path>.+))?", "tree"),
    (rf"{_ID}/paths-info/(?P<revision>[^/]+)", "paths"),
    (rf"{_ID}/auth-check", "auth"),
    (rf"{_ID}/settings", "settings"),
    (rf"{_ID}/branch/(?P<ref>[^/]+)", "branch"),
    (rf"{_ID}/discussions", "discussions"),
    (rf"{_ID}/discussions/(?P<number>\d+)", "discussion"),
    (rf"{_ID}/preupload/(?P<revision>[^/]+)", "preupload"),
    (rf"{_ID}/xet-write-token/(?P<revision>[^/]+)", "xet"),
    (rf"{_ID}/commit/(?P<revision>[^/]+)", "commit"),
    (rf"{_ID}(?:/revision/(?P<revision>[^/]+))?", "info"),
    (r"/objects/(?P<kind>datasets|models)/(?P<id>[^/]+/[^/]+)/(?P<oid>[0-9a-f]{64})", "put"),
    (r"/objects/(?P<kind>datasets|models)/(?P<id>[^/]+/[^/]+)/(?P<oid>[0-9a-f]{64})/verify", "verify"),
    (rf"{_KIND}\.git/info/lfs/objects/batch", "batch"),
    (rf"{_KIND}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
]


def _sha256(data: bytes) -> str:
    return data.sha256 if isinstance(data, Pointer) else hashlib.sha256(data).hexdigest()


def _size(data: bytes) -> int:
    return data.size if isinstance(data, Pointer) else len(data)


def _oid(data: bytes) -> str:
    if isinstance(data, Pointer):
        return data.sha256[:40]
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
        entries[path] = {"type": "file", "path": path, "size": _size(data), "oid": _oid(data)}
    return [entry for path, entry in entries.items() if recursive or "/" not in path[len(prefix) :]]
