"""`mird train detectors`: the small networks that curation ships, trained on labels that degradations make."""

from million_ird.train.detectors.settings import DetectorConfig
from million_ird.train.detectors.training import Trained, train_watermark

__all__ = ["DetectorConfig", "Trained", "train_watermark"]
