"""The network alone: bf16, channels last."""

import run_bare_fp32
import torch
from case import Case

PACKAGE = "torch"
setup = run_bare_fp32.setup


def predict(case: Case) -> None:
    """Forward the scene."""
    run_bare_fp32.forward(case, torch.channels_last, torch.bfloat16)
