"""How data lies inside the page: ASCII only, and nothing in it can end the element that holds it."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray


def packed(array: NDArray[Any], dtype: str) -> str:
    """Base64 of the numbers as `dtype` (little-endian, for example "<f4"), which the page reads as a typed array."""
    return base64.b64encode(np.ascontiguousarray(array, dtype=dtype).tobytes()).decode("ascii")


def data_url(data: bytes, mime: str) -> str:
    """A picture as an address that needs no network."""
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"


def json_for_html(data: Any) -> str:
    """JSON that is safe as the text of a `<script type="application/json">`.

    `<`, `>` and `&` become escapes of JSON itself, so no uri can write `</script>` or `<!--`; all else that is not
    ASCII (lone surrogates and U+2028 included) is escaped by `json` already. NaN and infinity are errors.
    """
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def text_for_html(text: str) -> str:
    """Text content of an element, ASCII only."""
    return html.escape(text).encode("ascii", "xmlcharrefreplace").decode("ascii")


def digest(text: str) -> str:
    """The source expression by which a Content-Security-Policy admits this one inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"
