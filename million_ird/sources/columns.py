"""Columns of tables: which hold URLs or images, and all the others as metadata in JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute

pc: Any = pyarrow.compute  # most of its functions come into being when it is imported

URL_NAMES = ("url", "image_url", "img_url", "image", "link", "src", "contenturl")
"""Columns that are taken for the URL, in this order, in any case of letters."""
_IMAGE_NAMES = frozenset(["image", "img", "picture", "jpg", "jpeg", "png", "webp", "bytes"])
_FIXED = {"licence": ("license",), "author": ("creator", "artist", "attribution")}
"""Names that metadata have everywhere, and what lists call them."""
_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(", ", ": "), allow_nan=False).encode


def url_column(names: Sequence[str]) -> str:
    """The column that holds the URL by its name; "" where none does."""
    lower = [name.strip().lower() for name in names]
    return next((names[lower.index(known)] for known in URL_NAMES if known in lower), "")


def image_columns(schema: pa.Schema) -> list[str]:
    """The columns that hold image files: `datasets.Image`, or plain bytes under a name like `image` or `jpg`."""
    return [field.name for field in schema if _holds_images(field, _features(schema))]


def _features(schema: pa.Schema) -> Mapping[str, Any]:
    try:
        noted = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = noted["info"]["features"]
    except (ValueError, TypeError, KeyError):
        return {}
    return features if isinstance(features, dict) else {}


def _holds_images(field: pa.Field, features: Mapping[str, Any]) -> bool:
    feature = features.get(field.name)
    noted = feature.get("_type") if isinstance(feature, dict) else None
    kind = _storage(field.type)
    if pa.types.is_struct(kind):
        inner = {kind.field(index).name: kind.field(index).type for index in range(kind.num_fields)}
        # Audio and video lie in structs of the same form.
        of_image = noted == "Image" or (noted is None and ("path" in inner or len(inner) == 1))
        return of_image and "bytes" in inner and _binary(inner["bytes"])
    return _binary(kind) and (noted == "Image" or field.name.lower() in _IMAGE_NAMES)


def _storage(kind: pa.DataType) -> pa.DataType:
    while isinstance(kind, (pa.BaseExtensionType, pa.DictionaryType)):
        kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind.value_type
    return kind


def _binary(kind: pa.DataType) -> bool:
    return any(
        test(kind)
        for test in (
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_fixed_size_binary,
            pa.types.is_binary_view,
        )
    )


def holds_values(field: pa.Field) -> bool:
    """Whether a column can be metadata: anything but bytes."""
    return not _binary(_storage(field.type))


def is_text(kind: pa.DataType) -> bool:
    """Whether a column's type is text."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def plain(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column without chunks, dictionaries or extension types; text as `string`, what is no UTF-8 in it replaced."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    array = pa.concat_arrays(array.chunks) if isinstance(array, pa.ChunkedArray) else array
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if isinstance(array, pa.DictionaryArray):
        array = array.dictionary_decode()
    if is_text(array.type):
        try:
            array.validate(full=True)
        except pa.ArrowInvalid:
            cells = pc.cast(array, pa.large_binary()).to_pylist()
            return pa.array([cell and cell.decode("utf-8", "replace") for cell in cells], pa.string())
        return pc.cast(array, pa.string())
    return array


def fixed_names(names: Iterable[str]) -> dict[str, str]:
    """Columns that go by another name as metadata: `license` is `licence`, `creator` is `author` if there is none."""
    names = list(names)
    lower = [name.strip().lower() for name in names]
    out = {}
    for fixed, others in _FIXED.items():
        match = next((names[lower.index(other)] for other in (fixed, *others) if other in lower), fixed)
        if match != fixed and fixed not in names:
            out[match] = fixed
    return out


def metas(columns: Mapping[str, pa.Array | pa.ChunkedArray], rows: int) -> list[str]:
    """Rows as JSON objects, keys sorted; "" for a row without any value.

    Bytes, nulls, empty names and numbers that are not finite are left out.

    Args:
        columns: by name.
        rows: length of each.
    """
    named = fixed_names(columns)
    final = {named.get(name, name): column for name, column in columns.items() if name.strip()}
    parts = []
    for name in sorted(final):
        values = _json_values(plain(final[name]))
        if values is not None and values.null_count < len(values):
            part = pc.binary_join_element_wise(f"{_encode(name)}: ", values, ", ", "")
            parts.append(pc.fill_null(part, ""))  # not skipped: pyarrow's join loses rows where all is skipped
    if not parts:
        return [""] * rows
    joined = pc.utf8_slice_codeunits(pc.binary_join_element_wise(*parts, ""), 0, -2)
    texts = pc.if_else(pc.equal(joined, ""), "", pc.binary_join_element_wise("{", joined, "}", ""))
    return texts.to_pylist()


def _json_values(array: pa.Array) -> pa.Array | None:
    """Each value as JSON text; null where it is left out; None where no value can be told."""
    kind = array.type
    if pa.types.is_null(kind) or _binary(kind):
        return None
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return pc.cast(array, pa.string())
    if pa.types.is_floating(kind):
        return _floats(array)
    if is_text(kind):
        return _texts(array)
    values = [jsonable(value) for value in array.to_pylist()]
    return pa.array([None if value is None else _encode(value) for value in values], pa.string())


def _floats(array: pa.Array) -> pa.Array:
    if pa.types.is_float16(array.type):
        array = pc.cast(array, pa.float32())
    finite = pc.if_else(pc.is_finite(array), array, pa.scalar(None, array.type))
    texts = pc.cast(finite, pa.string())
    whole = pc.match_substring_regex(texts, r"^-?[0-9]+$")
    return pc.if_else(whole, pc.binary_join_element_wise(texts, ".0", ""), texts)


def _texts(array: pa.Array) -> pa.Array:
    odd = pc.fill_null(pc.match_substring_regex(array, r'[\x00-\x1f"\\]'), False)
    quoted = pc.binary_join_element_wise('"', array, '"', "")
    if not pc.any(odd).as_py():
        return quoted
    escaped = [_encode(text) for text in pc.filter(array, odd).to_pylist()]
    return pc.replace_with_mask(quoted, odd, pa.array(escaped, pa.string()))


def jsonable(value: Any) -> Any:
    """A value as JSON can hold it: times as ISO text; bytes, and numbers that are not finite, as None; within lists and
    mappings these and nulls are left out."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")  # lone surrogates, which no file could hold
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return jsonable(float(value))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return None
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {jsonable(str(name)): inner for name, inner in _kept(value.items())}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [inner for _, inner in _kept(enumerate(value))]
    return str(value)


def _kept(pairs: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    for name, value in pairs:
        inner = jsonable(value)
        if inner is not None:
            yield name, inner


def meta_of(row: Mapping[str, Any], leave_out: Collection[str] = ()) -> str:
    """One row as `metas` gives it."""
    named = fixed_names(row)
    kept = {
        named.get(name, name): inner for name, inner in _kept(row.items()) if name.strip() and name not in leave_out
    }
    return _encode(kept) if kept else ""
