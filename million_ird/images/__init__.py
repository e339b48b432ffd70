"""Safe decoding and encoding: the same pixels for everyone.

`read_header` looks at bytes before any pixel exists; `decode` turns them into (H, W, 3) RGB uint8, sRGB and upright,
and says what it had to do. Whatever is wrong with a file comes out as a `BadImage` with a status, never as one of the
exceptions of Pillow, OpenCV or libjpeg. This room alone knows of BGR.
"""

from million_ird.images.decode import Decoded, decode, preview
from million_ird.images.encode import encode_jpeg, thumbnail
from million_ird.images.header import FORMATS, Limits, read_header, sniff
from million_ird.images.metadata import credits_of, strip_metadata
from million_ird.images.png import decode_mask, decode_picture, encode_png

__all__ = [
    "FORMATS",
    "Decoded",
    "Limits",
    "credits_of",
    "decode",
    "decode_mask",
    "decode_picture",
    "encode_jpeg",
    "encode_png",
    "preview",
    "read_header",
    "sniff",
    "strip_metadata",
    "thumbnail",
]
