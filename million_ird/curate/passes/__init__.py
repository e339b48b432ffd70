"""Passes of large models over what all cheaper rules keep: CLIP and pyiqa, each with a ledger of its own."""
