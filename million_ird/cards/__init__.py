"""Dataset cards: Markdown with the YAML head that the Hub and the `datasets` library read."""

from million_ird.cards.dataset import DatasetFacts, WebFacts, dataset_card

__all__ = ["DatasetFacts", "WebFacts", "dataset_card"]
