"""Blur by a point spread function: what all such ops share, and the Gaussian family and ringing."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from million_ird.degrade import kernels
from million_ird.degrade.convolve import convolve
from million_ird.degrade.dist import Among, Between, Choice, Names, Spec, draw, draw_name, draw_whole, ends_of
from million_ird.degrade.light import linear8, to_linear, to_srgb
from million_ird.degrade.op import Image, Op, Params, Shape, Support, Tier, to_float, to_uint8
from million_ird.rng import Chance

SPACES = ("srgb", "linear")
"""Where light is mixed: in the stored values, as most published sets do, or in linear light, as lenses do."""

KINDS = (
    "isotropic",
    "anisotropic",
    "generalised",
    "generalised_anisotropic",
    "plateau",
    "plateau_anisotropic",
)
"""Shapes of kernels; the names of Real-ESRGAN's six."""

SIZES = tuple(range(7, 22, 2))
"""Published sizes of kernels, px: Real-ESRGAN."""

BLOWN = 0.95
"""sRGB value from which a highlight is taken to be cut off by the sensor."""


class Convolving(Op):
    """An op that is a convolution with `psf(params)`. Params may name `space` ("srgb") and `highlights` (1)."""

    tier: ClassVar[Tier] = "versions"

    @classmethod
    def psf(cls, params: Params) -> kernels.Kernel:
        """(h, w) float32 kernel of drawn parameters: both sides odd, sum 1, centred."""
        raise NotImplementedError

    @classmethod
    def render(cls, image: NDArray[np.float32], params: Params) -> tuple[NDArray[np.float32], Support | None]:
        return _blurred(image, cls.psf(params), params), None

    @classmethod
    def render8(cls, image: NDArray[np.uint8], params: Params) -> tuple[NDArray[np.uint8], Support | None]:
        return _blurred(image, cls.psf(params), params), None


class GaussianBlur(Convolving):
    """Gaussian blur and its relatives, as blind super-resolution draws them (Real-ESRGAN, Wang et al. 2021)."""

    family: ClassVar[str] = "blur"

    kind: Annotated[Names, Among(KINDS)] = "isotropic"
    """Shape of the kernel. Shares of the six in Real-ESRGAN, in this order: .45, .25, .12, .03, .12, .03."""
    sigma: Annotated[Spec, Between(0, 50)] = (0.2, 3)
    """Standard deviation, px; of each axis where it is anisotropic. 0.2 to 3, second pass to 1.5: Real-ESRGAN."""
    angle: Annotated[Spec, Between(-360, 360)] = (0, 180)
    """Direction of the first axis of an anisotropic kernel, degrees."""
    beta_generalised: Annotated[Spec, Between(0.1, 10)] = (0.5, 4)
    """Exponent of generalised kernels: below 1 pointed, 1 Gaussian, above flat-topped. 0.5 to 4: Real-ESRGAN."""
    beta_plateau: Annotated[Spec, Between(0.1, 10)] = (1, 2)
    """Exponent of plateau kernels. 1 to 2: Real-ESRGAN."""
    size: Annotated[Spec, Between(0, 255, whole=True)] = 0
    """Size of the kernel, px, made odd; 0 = 3.5 standard deviations to each side. 7 to 21: Real-ESRGAN."""
    space: Annotated[Names, Among(SPACES)] = "srgb"
    """Where light is mixed. srgb: as published; linear: as a lens does."""

    def draw(self, rng: Chance, shape: Shape) -> Params:
        kind, space = draw_name(self.kind, rng), draw_name(self.space, rng)
        params: Params = {"kind": kind, "sigma": draw(self.sigma, rng), "space": space}
        if kind.endswith("anisotropic"):
            params |= {"sigma_y": draw(self.sigma, rng), "angle": draw(self.angle, rng)}
        if kind.startswith("generalised"):
            params["beta"] = draw(self.beta_generalised, rng)
        if kind.startswith("plateau"):
            params["beta"] = draw(self.beta_plateau, rng)
        if size := draw_odd(self.size, rng):
            params["size"] = size
        return params

    @classmethod
    def psf(cls, params: Params) -> kernels.Kernel:
        axes = (params["sigma"], params.get("sigma_y"), params.get("angle", 0), params.get("size", 0))
        if params["kind"].startswith("generalised"):
            return kernels.generalised(params["beta"], *axes)
        if params["kind"].startswith("plateau"):
            return kernels.plateau(params["beta"], *axes)
        return kernels.gaussian(*axes)


class Ringing(Convolving):
    """Ripples beside edges, as sharpening, resizing and compression leave them: an ideal low-pass (sinc) filter.

    In sRGB, as published. What over- and undershoots is not cut off before the end of the chain.
    """

    family: ClassVar[str] = "ringing"

    cutoff: Annotated[Spec, Between(0.3, math.pi)] = (math.pi / 3, math.pi)
    """Highest frequency that passes, radians per px. pi/3 to pi (pi/5 for kernels of 13 px and more): Real-ESRGAN."""
    size: Annotated[Spec, Between(3, 255, whole=True)] = Choice(choice=SIZES)
    """Size of the kernel, px, made odd: how far the ripples go. 7 to 21: Real-ESRGAN."""

    def draw(self, rng: Chance, shape: Shape) -> Params:
        return {"cutoff": draw(self.cutoff, rng), "size": draw_odd(self.size, rng)}

    @classmethod
    def psf(cls, params: Params) -> kernels.Kernel:
        return kernels.sinc(params["cutoff"], params["size"])


def draw_odd(size: Spec, rng: Chance) -> int:
    """An odd whole number: of a range each as likely as any other; an even constant is raised by one; 0 stays 0."""
    if isinstance(size, tuple) and (lo := int(size[0]) | 1) <= (hi := (int(size[1]) - 1) | 1):
        return lo + 2 * int(((hi - lo) // 2 + 1) * rng.random())
    drawn = draw_whole(size, rng)
    return drawn | 1 if drawn else 0


def check_highlights(highlights: Spec, space: Names) -> None:
    """Raises:
    ValueError: highlights brighter than white, where light is not linear and brighter than white means nothing.
    """
    spaces = space.choice if isinstance(space, Choice) else (space,)
    if ends_of(highlights)[1] > 1 and "srgb" in spaces:
        raise ValueError("highlights above 1 need space: linear")


def _blurred(image: Image, kernel: kernels.Kernel, params: Params) -> Any:
    """Convolve an image of either dtype in the drawn space; an 8-bit one is rounded once."""
    if kernel.size == 1:
        return image
    eight, linear, boost = image.dtype == np.uint8, params.get("space") == "linear", params.get("highlights", 1)
    if not linear:
        return convolve(image, kernel, to_float, to_uint8) if eight else convolve(image, kernel)

    def decode(part: Any) -> Any:
        light = linear8(part) if eight else to_linear(part)
        return light if boost <= 1 else _boosted(light, to_float(part), boost)

    def encode(part: Any) -> Any:
        # The sensor cuts off what is still too bright.
        x = to_srgb(part if boost <= 1 else np.minimum(part, np.float32(1)))
        return to_uint8(x) if eight else x

    return convolve(image, kernel, decode, encode)


def _boosted(light: NDArray[np.float32], image: NDArray[np.float32], boost: float) -> NDArray[np.float32]:
    """Linear light with blown-out highlights as bright as they were; `image` = the same in sRGB."""
    # Blown out in all three channels: a colour may reach the end of one, only a light (or its glint) that of all.
    least = np.asarray(cv2.min(cv2.min(image[..., 0], image[..., 1]), image[..., 2]), np.float32)
    blown = np.clip((least - np.float32(BLOWN)) * np.float32(1 / (1 - BLOWN)), 0, 1)
    return np.multiply(light, (1 + (boost - 1) * blown)[..., None], dtype=np.float32)
