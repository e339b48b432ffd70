"""Motion blur: the camera moved while the shutter was open."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import model_validator

from million_ird.degrade import kernels
from million_ird.degrade.blur import SPACES, Convolving, check_highlights
from million_ird.degrade.dist import Among, Between, Names, Spec, draw, draw_name, draw_seed
from million_ird.degrade.op import Params, Shape
from million_ird.rng import Chance


class MotionBlur(Convolving):
    """The same motion for the whole picture: a straight line, or the path of a shaking hand (Boracchi & Foi 2012)."""

    family: ClassVar[str] = "blur"

    kind: Annotated[Names, Among(("line", "trajectory"))] = "line"
    """line: steady, straight. trajectory: a wandering path."""
    length: Annotated[Spec, Between(0, 500)] = (3, 41)
    """Length of the line or of the whole path, px."""
    angle: Annotated[Spec, Between(-360, 360)] = (0, 180)
    """Direction of a line, degrees: 0 = along a row, 90 = along a column."""
    shake: Annotated[Spec, Between(0, 10)] = (0.2, 1)
    """How wild a path is: 0 = straight, 1 = up to all the unrest of DeblurGAN (Kupyn et al. 2018)."""
    exposure: Annotated[Spec, Between(0.001, 1)] = 1
    """Share of a path that the open shutter sees. .01, .1, .5, 1: DeblurGAN."""
    space: Annotated[Names, Among(SPACES)] = "srgb"
    """Where light is mixed. srgb: as most published sets do; linear: as a sensor does."""
    highlights: Annotated[Spec, Between(1, 16)] = 1
    """How much brighter than white blown-out highlights really were; needs linear space. 2 to 4 draws bright trails."""

    @model_validator(mode="after")
    def _highlights_need_light(self) -> Self:
        check_highlights(self.highlights, self.space)
        return self

    def draw(self, rng: Chance, shape: Shape) -> Params:
        kind, space = draw_name(self.kind, rng), draw_name(self.space, rng)
        params: Params = {"kind": kind, "length": draw(self.length, rng), "space": space}
        if kind == "line":
            params["angle"] = draw(self.angle, rng)
        else:
            params |= {"shake": draw(self.shake, rng), "exposure": draw(self.exposure, rng), "seed": draw_seed(rng)}
        if space == "linear":
            params["highlights"] = draw(self.highlights, rng)
        return params

    @classmethod
    def psf(cls, params: Params) -> kernels.Kernel:
        if params["kind"] == "line":
            return kernels.line(params["length"], params["angle"])
        return kernels.trajectory(params["length"], params["shake"], params["seed"], params["exposure"])
