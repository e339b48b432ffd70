"""Lossy codecs, the real ones: what comes out is what a decoder makes of an encoder's bytes."""

from __future__ import annotations

import io
from typing import Annotated, ClassVar

import numpy as np
import simplejpeg
from PIL import Image as Pillow

from million_ird.degrade.dist import Among, Between, Choice, Names, Spec, draw_name, draw_whole
from million_ird.degrade.op import Bytes, Op, Params, Shape, Support, Tier
from million_ird.errors import InputError
from million_ird.images.encode import SAMPLINGS, encode_jpeg
from million_ird.rng import Chance

_LIMIT = {"JPEG": 65535, "WebP": 16383}


class JPEG(Op):
    """Baseline JPEG by libjpeg-turbo. Twice in a chain, with a `shift`, it is misaligned double JPEG."""

    family: ClassVar[str] = "jpeg"
    tier: ClassVar[Tier] = "codec"
    codec: ClassVar[bool] = True

    quality: Annotated[Spec, Between(1, 100, whole=True)] = (30, 95)
    """IJG quality. 30 to 95: Real-ESRGAN, BSRGAN; 10, 20, 30, 40 are the usual tests."""
    sampling: Annotated[Names, Among(tuple(SAMPLINGS))] = Choice(choice=("4:2:0", "4:4:4"), p=(0.8, 0.2))
    """Chroma subsampling."""
    shift: Annotated[Spec, Between(0, 15, whole=True)] = 0
    """Offset of the 8x8 grid from the corner of the picture, px, drawn for each direction."""

    def draw(self, rng: Chance, shape: Shape) -> Params:
        return {
            "quality": draw_whole(self.quality, rng),
            "sampling": draw_name(self.sampling, rng),
            "shift": [draw_whole(self.shift, rng), draw_whole(self.shift, rng)],
        }

    @classmethod
    def render8(cls, image: Bytes, params: Params) -> tuple[Bytes, Support | None]:
        dx, dy = params["shift"]
        height, width = image.shape[:2]
        _fits("JPEG", height + dy, width + dx)
        if dx or dy:
            image = np.pad(image, ((dy, 0), (dx, 0), (0, 0)), mode="symmetric")
        data = encode_jpeg(image, params["quality"], params["sampling"])
        decoded = simplejpeg.decode_jpeg(data, colorspace="RGB", fastdct=False, fastupsample=False)
        return np.ascontiguousarray(decoded[dy:, dx:]), None


class WebP(Op):
    """Lossy WebP (VP8, always 4:2:0) by libwebp."""

    family: ClassVar[str] = "webp"
    tier: ClassVar[Tier] = "codec"
    codec: ClassVar[bool] = True

    quality: Annotated[Spec, Between(0, 100, whole=True)] = (40, 95)
    """libwebp's quality factor. 40 to 100 is what super-resolution datasets use."""
    method: Annotated[Spec, Between(0, 6, whole=True)] = 0
    """Effort, 0 (fast) to 6; it changes the picture too."""

    def draw(self, rng: Chance, shape: Shape) -> Params:
        return {"quality": draw_whole(self.quality, rng), "method": draw_whole(self.method, rng)}

    @classmethod
    def render8(cls, image: Bytes, params: Params) -> tuple[Bytes, Support | None]:
        _fits("WebP", *image.shape[:2])
        buffer = io.BytesIO()
        Pillow.fromarray(image).save(buffer, "WEBP", quality=params["quality"], method=params["method"])
        with Pillow.open(buffer) as picture:
            return np.array(picture.convert("RGB")), None


def _fits(codec: str, height: int, width: int) -> None:
    if max(height, width) > _LIMIT[codec]:
        raise InputError(f"image: {codec} takes {_LIMIT[codec]} px a side at most, this one is {width}x{height}")
