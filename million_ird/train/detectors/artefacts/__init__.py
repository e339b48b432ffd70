"""`mird train detectors --only artefacts`: one small network that tells what has been done to a picture."""

from million_ird.train.detectors.artefacts.settings import ArtefactConfig
from million_ird.train.detectors.artefacts.training import train_artefacts

__all__ = ["ArtefactConfig", "train_artefacts"]
