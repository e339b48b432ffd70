"""The rules that decide what is kept, as configuration; their numbers, with sources, stand in `presets/*.yaml`."""

from __future__ import annotations

from pydantic import Field, model_validator

from million_ird.config import Config


class Rule(Config):
    """A rule that asks for at least `min`, at most `max`, or both; null = not asked."""

    enabled: bool = False
    """Whether the rule drops anything."""


class MinRule(Rule):
    min: float | None = None
    """Smallest value that passes."""


class MaxRule(Rule):
    max: float | None = None
    """Largest value that passes."""


class Resolution(Rule):
    min_side: int | None = None
    """Smallest short side, px."""
    min_pixels: int | None = None
    """Smallest width x height, px."""
    max_aspect: float | None = None
    """Largest long side over short side."""


class ExactDuplicate(Rule):
    """Same bytes (sha256) as an earlier input."""


class NearDuplicate(Rule):
    distance: int = Field(default=8, ge=0, le=16)
    """Largest Hamming distance of two hashes of one cluster, bits; every pair is verified on its thumbs. Take 4 beyond
    5M images: chance pairs grow with the square of the number."""
    flips: bool = False
    """Also find mirrored and turned copies (8 variants; the search takes about 8 times as long)."""


class SemanticDuplicate(Rule):
    similarity: float = Field(default=0.95, gt=0, le=1)
    """Smallest cosine of the embeddings of two pictures of one thing."""
    probe: int = Field(default=8, ge=1)
    """Clusters of embeddings in which a picture is compared; 1 = in its own alone, as SemDeDup. More finds more, and
    takes longer; up to 16,384 pictures all are compared."""


class Contaminated(Rule):
    sets: tuple[str, ...] = ()
    """Hash lists of test sets: built-in ones by name (kodak24), others by the path that `mird hashes make` wrote."""
    max: float | None = 0.0
    """Largest `contaminated` that passes: the share of the smaller of image and test picture that lies in the other.
    1 = list what is found, drop nothing."""


class ScoreRule(MaxRule):
    max: float | None = Field(default=None, ge=0, le=1)
    """Largest score that passes, 0..1."""


class Blur(MinRule):
    min_ratio: float | None = None
    """Smallest `blur_ratio` that passes."""


class Compression(Rule):
    min: float | None = None
    """Smallest `jpeg_quality` that passes (JPEG files only)."""
    max: float | None = None
    """Largest `blockiness` that passes."""


class Exposure(Rule):
    min: float | None = None
    """Smallest `contrast` that passes."""
    max: float | None = None
    """Largest `exposure_low` or `exposure_high` that passes."""


class Pins(Config):
    """Inputs decided by hand; they win over all rules. An image that cannot be read cannot be kept all the same."""

    keep: tuple[str, ...] = ()
    """Ids, URIs or keys to keep."""
    drop: tuple[str, ...] = ()
    """Ids, URIs or keys to drop."""
    file: str | None = None
    """A .csv or .parquet file with a column `id`, `uri` or `key` and a column `keep` (true/false)."""


class Policy(Config):
    """The rules, in the order in which they are asked; the first that fails gives the reason."""

    resolution: Resolution = Resolution()
    """Size in pixels."""
    exact_duplicate: ExactDuplicate = ExactDuplicate(enabled=True)
    """Byte-for-byte copies: the first stays."""
    near_duplicate: NearDuplicate = NearDuplicate()
    """Copies that were resized, recompressed or slightly changed: the best stays."""
    contaminated: Contaminated = Contaminated()
    """Near duplicates of test pictures, crops of them, and what they are crops of. Comparing takes about 1.5
    times as long as all the meters; other `sets` read and compare every image once more."""
    blur: Blur = Blur()
    """`blur` (sharpness of the sharpest parts) and `blur_ratio`."""
    flat: MaxRule = MaxRule()
    """`flat`: share of tiles without texture."""
    noise: MaxRule = MaxRule()
    """`noise`: sigma on the 0..255 scale."""
    compression: Compression = Compression()
    """`jpeg_quality` and `blockiness`."""
    exposure: Exposure = Exposure()
    """`exposure_low`, `exposure_high` and `contrast`."""
    greyscale: MinRule = MinRule()
    """`colourfulness`."""
    border: MaxRule = MaxRule()
    """`border`: share of uniform frame."""
    product: MaxRule = MaxRule()
    """`background`: plain background (product shots, documents, graphics)."""
    upscaled: MinRule = MinRule()
    """`upscale`: real over nominal resolution."""
    watermark: ScoreRule = ScoreRule()
    """`watermark`."""
    iqa: MaxRule = MaxRule()
    """`iqa`: NIQE."""
    meters: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Rules on columns of third-party meters: {column: {min: 0.1, max: 0.9}}; the reason is the column's name."""
    clip: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Rules on the CLIP pass: {NAME: {max: 0.5}} for a score or head of passes.clip; the reason is clip_NAME."""
    semantic_duplicate: SemanticDuplicate = SemanticDuplicate()
    """Pictures of the same thing, by the CLIP pass's embeddings: the best stays. Needs passes.clip, and faiss."""
    pyiqa: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Rules on the pyiqa pass: {NAME: {max: 6}} for a metric of passes.pyiqa; the reason is pyiqa_NAME."""
    pins: Pins = Pins()
    """Decisions by hand."""

    @model_validator(mode="after")
    def _bounds_are_known(self) -> Policy:
        for section in ("meters", "clip", "pyiqa"):
            for column, bounds in getattr(self, section).items():
                if not bounds or bounds.keys() - {"min", "max"}:
                    raise ValueError(f"{section}.{column} takes min and max")
        return self
