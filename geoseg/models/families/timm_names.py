"""Names of timm's encoders and of an argument of theirs. Importing this imports neither smp nor timm."""

from __future__ import annotations

TIMM = "tu-"
"""Prefix of smp's names of timm's encoders."""
OVERLAY = "pretrained_cfg_overlay"
"""Argument of timm with which geoseg loads weights from a file; not allowed in a spec."""
