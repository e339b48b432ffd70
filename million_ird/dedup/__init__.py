"""Perceptual hashes to groups of near duplicates: an exact join, every edge verified, clusters that do not chain."""

from million_ird.dedup.clusters import cluster
from million_ird.dedup.edges import Edges, find_edges

__all__ = ["Edges", "cluster", "find_edges"]
