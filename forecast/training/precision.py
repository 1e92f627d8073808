"""Arithmetic of training: float32, or autocast to bf16 or fp16 with a scaler where needed."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

PrecisionName = Literal["float32", "bf16", "fp16"]
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(precision: PrecisionName, device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which the network runs; transforms stay in float32 by themselves.

    Args:
        precision: what the matrix products compute in.
        device: where the tensors are.
    """
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=_DTYPES[precision])


def grad_scaler(precision: PrecisionName, device: torch.device) -> torch.amp.GradScaler:
    """Return a scaler that keeps fp16 gradients in range, and does nothing for the others."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")
