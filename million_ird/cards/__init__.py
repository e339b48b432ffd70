"""Cards of datasets and models: Markdown with the YAML head that the Hub and its libraries read."""

from million_ird.cards.dataset import PICTURES, DatasetFacts, Stored, Threshold, WebFacts, dataset_card, index_card
from million_ird.cards.model import DataFacts, ModelFacts, model_card
from million_ird.cards.pictures import histogram

__all__ = [
    "PICTURES",
    "DataFacts",
    "DatasetFacts",
    "ModelFacts",
    "Stored",
    "Threshold",
    "WebFacts",
    "dataset_card",
    "histogram",
    "index_card",
    "model_card",
]
