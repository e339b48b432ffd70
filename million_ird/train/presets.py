"""What is preset: recipes by task, repeat factors as published, and settings of each stage."""

from __future__ import annotations

from typing import Any

RECIPES = {t: t for t in ("denoise", "derain", "dehaze", "deblur", "desnow", "dejpeg", "debit", "lowlight")}
"""Task -> the recipe that clean images of it are degraded by, where none is named."""

REPEATS = {
    "three": {"derain": 120, "dehaze": 1, "denoise": 9},
    "five": {"derain": 120, "dehaze": 1, "denoise": 9, "deblur": 5, "lowlight": 20},
}
"""Published repeat factors: how often an epoch goes through each task's set. Denoising counts three noise levels three
times each (PromptIR, DyNet); blur and low light as AdaIR and MoCE-IR have them."""

PRESETS: dict[tuple[str, str], dict[str, Any]] = {
    ("dynet", "pretrain"): {
        "model": "dynet-s",
        "batch": 32,
        "steps": 1_000_000,
        "optim": {"kind": "adam", "lr": 1e-4, "floor": 1e-4, "warmup": 0, "decay": 0.0},
        "data": {"recipe": "dynet"},
    },
    ("dynet", "finetune"): {"model": "dynet-s", "batch": 32, "steps": 534_000, "optim": {"warmup": 66_000}},
    ("abair", "pretrain"): {"model": "abair", "batch": 32, "steps": 300_000, "data": {"recipe": "abair"}},
    ("abair", "adapt"): {"model": "abair", "batch": 32, "steps": 50_000, "optim": {"lr": 5e-4, "decay": 0.0}},
    ("abair", "estimate"): {"model": "abair", "batch": 32, "steps": 10_000, "optim": {"lr": 5e-4}},
}
"""Family, stage -> what the papers do, as far as it is known (docs/train.md says where from)."""
