"""A run's folder mirrored to object storage: what lies there is the truth, what lies here is a working copy.

with mounted("s3://bucket/out", scratch=None, lease_seconds=60, rules=Rules(...)) as mirror:
    mirror.folder                     the working folder on this machine
    mirror.bring(["plan.parquet"])    as it is there now
    mirror.push(["decisions.parquet"])
"""

from __future__ import annotations

from million_ird.mirror.address import checked, is_address, refuse_within
from million_ird.mirror.folder import RunFolder
from million_ird.mirror.mirror import Mirror
from million_ird.mirror.mount import DIARY, Mounted, Rules, files_below, mounted, peeked

__all__ = [
    "DIARY",
    "Mirror",
    "Mounted",
    "Rules",
    "RunFolder",
    "checked",
    "files_below",
    "is_address",
    "mounted",
    "peeked",
    "refuse_within",
]
