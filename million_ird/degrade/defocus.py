"""Defocus: everything lies at one distance, and the lens is set to another."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import model_validator

from million_ird.degrade import kernels
from million_ird.degrade.blur import SPACES, Convolving, check_highlights
from million_ird.degrade.dist import Among, Between, Names, Spec, draw, draw_name, draw_whole
from million_ird.degrade.op import Params, Shape
from million_ird.rng import Chance


class DefocusBlur(Convolving):
    """A point becomes the image of the aperture: an even disk, or a polygon where its blades are straight."""

    family: ClassVar[str] = "blur"

    radius: Annotated[Spec, Between(0, 200)] = (1, 10)
    """Radius of the disk, px, fractions too; of a polygon, that of the disk of equal area. 3 to 10: ImageNet-C."""
    blades: Annotated[Spec, Between(0, 20, whole=True)] = 0
    """Blades of the aperture, 5 to 9 in real lenses; fewer than 3 = round."""
    rotation: Annotated[Spec, Between(-360, 360)] = (0, 360)
    """Rotation of a polygon, degrees."""
    space: Annotated[Names, Among(SPACES)] = "srgb"
    """Where light is mixed. srgb: as ImageNet-C does; linear: as a lens does, with bright disks from small lights."""
    highlights: Annotated[Spec, Between(1, 16)] = 1
    """How much brighter than white blown-out highlights really were; needs linear space. 2 to 4 gives vivid bokeh."""

    @model_validator(mode="after")
    def _highlights_need_light(self) -> Self:
        check_highlights(self.highlights, self.space)
        return self

    def draw(self, rng: Chance, shape: Shape) -> Params:
        radius, blades = draw(self.radius, rng), draw_whole(self.blades, rng)
        space = draw_name(self.space, rng)
        params: Params = {"radius": radius, "space": space}
        if blades >= 3:
            params |= {"blades": blades, "rotation": draw(self.rotation, rng)}
        if space == "linear":
            params["highlights"] = draw(self.highlights, rng)
        return params

    @classmethod
    def psf(cls, params: Params) -> kernels.Kernel:
        if params.get("blades", 0) >= 3:
            return kernels.polygon(params["radius"], params["blades"], params["rotation"])
        return kernels.disk(params["radius"])
