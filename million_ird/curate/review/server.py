"""The page's server: this machine only, and only for who knows the address with its token."""

from __future__ import annotations

import json
import re
import secrets
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from math import isfinite
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, urlsplit

from filelock import FileLock, Timeout

from million_ird.curate.report.embed import digest, json_for_html, text_for_html
from million_ird.curate.review.desk import Choice, Desk
from million_ird.errors import BadImage, ConfigError, MirdError, OutputError
from million_ird.tables import output_error

HOST = "127.0.0.1"
MOST_BODY = 64 * 1024
IDLE = 60
"""Seconds after which a connection that says nothing is closed."""
_SIDES = (0, 480, 1600)


class Review(ThreadingHTTPServer):
    """A build's review, bound but not serving yet: call `serve_forever`, then `server_close`.

    Args:
        out: folder of a decided build.
        meter: column to begin with; None = one whose rule is on.
        port: to listen on; 0 = any that is free.

    Raises:
        OutputError: nothing is decided there, another review of it is open, or the port is taken.
        ConfigError: no such column.
    """

    daemon_threads = True
    allow_reuse_address = False

    def __init__(self, out: Path, meter: str | None = None, port: int = 0) -> None:
        self.desk = Desk(out)
        self.lock = _only(out)
        try:
            self.start = self.desk.choice(meter) if meter else self.desk.choices[0]
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            self.lock.release()
            raise OutputError(f"--port {port}: {error.strerror or error}; choose another, or 0 for any") from None
        except MirdError:
            self.lock.release()
            raise
        self.at_work = Lock()
        self.token = secrets.token_urlsafe(24)
        self.host = f"{HOST}:{self.server_port}"

    @property
    def url(self) -> str:
        """The page's address; who has it can answer."""
        return f"http://{self.host}/{self.token}/"

    def server_close(self) -> None:
        super().server_close()
        self.desk.close()
        self.lock.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no news; anything else is a bug and keeps its traceback."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)

    def page(self) -> tuple[str, str]:
        """The page, and its Content-Security-Policy."""
        script, style = _asset("page.js"), _asset("page.css")
        data = {
            "title": self.desk.config.export.name or self.desk.out.resolve().name,
            "choices": [vars(choice) for choice in self.desk.choices],
            "start": self.desk.choices.index(self.start),
            "labels": str(self.desk.labels.path),
            "out": str(self.desk.out),
        }
        parts = {"title": text_for_html(data["title"]), "data": json_for_html(data), "script": script, "style": style}
        policy = (
            f"default-src 'none'; img-src 'self' data:; connect-src 'self'; script-src {digest(script)}; "
            f"style-src {digest(style)}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return re.sub(r"\{\{(\w+)\}\}", lambda mark: parts[mark[1]], _asset("page.html")), policy


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Review  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "mird", ""
    timeout = IDLE

    def do_GET(self) -> None:
        self._guarded(self._get)

    def do_POST(self) -> None:
        self._guarded(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the terminal is the user's."""

    def _guarded(self, answer: Any) -> None:
        """Answer, or say in one line why not; a request that is not the page's own learns nothing."""
        try:
            if not self._ours():
                self._send(HTTPStatus.FORBIDDEN, b"", "text/plain")
                return
            answer()
        except ConfigError as error:
            self._send(HTTPStatus.BAD_REQUEST, str(error).encode(), "text/plain; charset=utf-8")
        except BadImage as error:
            self._send(HTTPStatus.NOT_FOUND, str(error).encode(), "text/plain; charset=utf-8")
        except OutputError as error:
            self._send(HTTPStatus.SERVICE_UNAVAILABLE, str(error).encode(), "text/plain; charset=utf-8")

    def _ours(self) -> bool:
        """Whether the request comes from the page: the token, this host's own name, and no other page's origin."""
        token = urlsplit(self.path).path.split("/")[1:2]
        known = secrets.compare_digest("".join(token).encode(), self.server.token.encode())
        origin = self.headers.get("Origin")
        return known and self.headers.get("Host") == self.server.host and origin in (None, f"http://{self.server.host}")

    def _get(self) -> None:
        address = urlsplit(self.path)
        name = address.path.split("/", 2)[2] if address.path.count("/") > 1 else None
        asked = {key: found[0] for key, found in parse_qs(address.query).items()}
        if name == "":
            page, policy = self.server.page()
            self._send(HTTPStatus.OK, page.encode(), "text/html; charset=utf-8", {"Content-Security-Policy": policy})
        elif name == "view":
            self._view(asked)
        elif name == "picture":
            side = int(asked["side"]) if asked.get("side", "") in map(str, _SIDES) else _SIDES[-1]
            data = self.server.desk.picture(asked.get("key", ""), side)
            self._send(HTTPStatus.OK, data, "image/jpeg", {"Cache-Control": "private, max-age=3600"})
        else:
            self._send(HTTPStatus.NOT_FOUND, b"no such page", "text/plain")

    def _post(self) -> None:
        asked, name = self._body(), urlsplit(self.path).path.split("/", 2)[2:]
        first = None
        desk = self.server.desk
        with self.server.at_work:
            if name == ["answer"]:
                if not isinstance(asked.get("keep"), bool):
                    raise ConfigError("keep: true or false")
                desk.answer(self._choice(asked), str(asked.get("key")), asked["keep"])
            elif name == ["skip"]:
                desk.skip(str(asked.get("key")))
            elif name == ["undo"]:
                first = desk.undo()
            else:
                raise ConfigError("a page can answer, skip and undo")
        self._view(asked, first)

    def _body(self) -> dict[str, Any]:
        """The JSON object that was sent. Its type is asked for because no form of another page can send it."""
        length = self.headers.get("Content-Length", "")
        if self.headers.get_content_type() != "application/json" or not length.isdigit() or int(length) > MOST_BODY:
            raise ConfigError("a small JSON object is asked for")
        try:
            asked = json.loads(self.rfile.read(int(length)))
        except ValueError:
            raise ConfigError("not JSON") from None
        if not isinstance(asked, dict):
            raise ConfigError("not a JSON object")
        return asked

    def _choice(self, asked: dict[str, Any]) -> Choice:
        return self.server.desk.choice(str(asked.get("column")), asked.get("bound"))

    def _view(self, asked: dict[str, Any], first: str | None = None) -> None:
        threshold = _number(asked, "threshold")
        precision = _number(asked, "precision")
        with self.server.at_work:
            wanted = 0.9 if precision is None else min(1.0, max(0.0, precision))
            shown = self.server.desk.view(self._choice(asked), threshold, wanted, first)
        self._send(HTTPStatus.OK, json.dumps(shown).encode(), "application/json")

    def _send(self, status: HTTPStatus, data: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        if status is not HTTPStatus.OK:
            self.close_connection = True  # its body may not have been read
        every = {
            "Content-Type": kind,
            "Content-Length": str(len(data)),
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        for name, value in {**every, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def _number(asked: dict[str, Any], name: str) -> float | None:
    """A number of a request; None where it is left out or empty."""
    value = asked.get(name)
    if value in (None, ""):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = float("nan")
    if not isfinite(found):
        raise ConfigError(f"{name}: a number is asked for")
    return found


def _only(out: Path) -> FileLock:
    """The lock that lets one review write the labels; a build may go on beside it."""
    lock = FileLock(out / ".review.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise OutputError(f"{out}: another `mird review` of it is open; close that one first") from None
    except OSError as error:
        raise output_error(error, out) from error
    return lock


def _asset(name: str) -> str:
    return files("million_ird.curate.review").joinpath(name).read_text("ascii")
