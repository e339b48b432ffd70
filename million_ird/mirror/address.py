"""Addresses of outputs, the file systems behind them, and what their failures are called."""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from million_ird.errors import ConfigError, OutputError

T = TypeVar("T")

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
"""Protocol -> the extra of million-ird that brings its package."""
OBJECT_STORES = frozenset(["s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", "memory"])
"""Where a file is put whole or not at all and folders need not be made."""
_READ_ONLY = frozenset(["http", "https", "hf", "data", "github", "git", "zip", "tar"])
WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each further attempt at what failed for a reason that passes."""
_PASSING = frozenset(
    getattr(errno, name)
    for name in (
        *("EIO", "EREMOTEIO", "EBUSY", "EAGAIN", "EPIPE", "ETIMEDOUT", "ENETUNREACH", "EHOSTUNREACH"),
        *("ECONNREFUSED", "ECONNRESET", "ECONNABORTED"),
    )
    if hasattr(errno, name)
)


def is_address(text: object) -> bool:
    """Whether an output is an fsspec address (`s3://…`) and not a path."""
    return bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", str(text)))


def checked(address: str) -> str:
    """An address without a slash at its end, refused where it holds secrets or cannot be written to.

    Raises:
        ConfigError: which it is, without the secrets.
    """
    protocol, _, path = address.partition("://")
    protocol = protocol.lower()
    if "?" in path or re.match(r"[^/]*:[^/]*@", path) or (protocol in EXTRAS and "@" in path.partition("/")[0]):
        raise ConfigError(
            f"--out {protocol}://…: the address holds credentials or options, which would be written down: "
            "leave them out, and give them where the store's own tools look (environment, profile, role)"
        )
    path = re.sub("/+", "/", path).rstrip("/") if protocol not in ("file", "local") else path.rstrip("/")
    if protocol in _READ_ONLY or not path:
        raise ConfigError(f"--out {address}: cannot be written to; give a folder, s3://BUCKET/PATH or gs://BUCKET/PATH")
    if ".." in path.split("/"):
        raise ConfigError(f"--out {address}: '..' means nothing in an address; write it out")
    return f"{protocol}://{path}"


def refuse_within(sources: Iterable[object], out: str) -> None:
    """An output below an address that is read would be read too.

    Raises:
        ConfigError: it is.
    """
    for source in map(str, sources):
        if f"{out}/".startswith(f"{source.rstrip('/')}/"):
            raise ConfigError(f"--out {out} lies in SOURCE {source}; choose an address beside it")


def file_system(address: str) -> tuple[Any, str]:
    """The fsspec file system of an address, and the path in it.

    Nothing is remembered of listings: other machines write there too.

    Raises:
        ConfigError: its package is missing, or nobody knows the protocol.
    """
    import fsspec

    protocol = address.partition("://")[0]
    try:
        kind = fsspec.get_filesystem_class(protocol)
    except (ImportError, ValueError) as error:
        if extra := EXTRAS.get(protocol):
            raise ConfigError(f'--out {address}: needs a package: pip install "million-ird[{extra}]"') from None
        words = first_line(error)
        raise ConfigError(f"--out {address}: {words}; known are folders, s3:// and gs://") from None
    fs = fsspec.filesystem(protocol, use_listings_cache=False)
    return fs, str(kind._strip_protocol(address)).rstrip("/")


def attempt(address: str, doing: str, call: Callable[..., T], *args: Any, patient: bool = True, **options: Any) -> T:
    """Call a method of a file system; what fails for a reason that passes is tried again.

    Args:
        address: what is worked on, for the message.
        doing: what is tried, for the message: "read" or "written".
        call: the method.
        args, options: its arguments.
        patient: False = once.

    Raises:
        FileNotFoundError, FileExistsError: as the file system says.
        OutputError: it cannot be done.
    """
    for wait in (*(WAITS if patient else ()), None):
        try:
            return call(*args, **options)
        except (FileNotFoundError, FileExistsError):
            raise
        except _failures(address) as error:
            if wait is None or not _passes(error):
                raise _told(address, doing, error) from error
            time.sleep(wait)
    raise AssertionError("unreachable")


def _failures(address: str) -> tuple[type[BaseException], ...]:
    """What a store raises where it cannot be reached or refuses."""
    protocol = address.partition("://")[0]
    found: list[type[BaseException]] = [OSError]
    if EXTRAS.get(protocol) == "s3":
        from botocore.exceptions import BotoCoreError, ClientError

        found += [BotoCoreError, ClientError]
    if EXTRAS.get(protocol) == "gcs":
        from gcsfs.retry import HttpError  # pyright: ignore[reportMissingImports]
        from google.auth.exceptions import GoogleAuthError  # pyright: ignore[reportMissingImports]

        found += [HttpError, GoogleAuthError]
    if protocol in EXTRAS:
        from aiohttp import ClientError as HttpClientError

        found.append(HttpClientError)
    return tuple(found)


def _passes(error: BaseException) -> bool:
    """Whether it may be gone in a moment. What the store's package has tried again itself comes here for good."""
    if isinstance(error, (PermissionError, NotADirectoryError, IsADirectoryError)):
        return False
    if isinstance(error, (ConnectionError, TimeoutError)) or getattr(error, "errno", None) in _PASSING:
        return True
    return "Connect" in type(error).__name__ or "Timeout" in type(error).__name__ or "Payload" in type(error).__name__


def _told(address: str, doing: str, error: BaseException) -> OutputError:
    words = first_line(error)
    if isinstance(error, PermissionError) or "redential" in type(error).__name__ + words or "Token" in words:
        remedy = "check the credentials that the environment, the profile or the role gives, and what they allow"
    elif _passes(error):
        remedy = "check that the store answers at its address, and run the same command again"
    else:
        remedy = "check the address"
    return OutputError(f"--out {address}: cannot be {doing} ({words}); {remedy}")


def first_line(error: BaseException) -> str:
    """What an error says, in 200 characters at most, without any URL: a signed one is a credential."""
    said = str(getattr(error, "strerror", None) or error).strip()
    line = (said.splitlines() or [type(error).__name__])[0]
    return re.sub(r"\?[^\s\"']*", "", line)[:200] or type(error).__name__
