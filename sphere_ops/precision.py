"""Global setting of the precision of matrix products; Fourier transforms stay in float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch

ProductPrecision = Literal["float32", "tf32", "bf16"]

_setting: ProductPrecision = "float32"


def set_product_precision(precision: ProductPrecision) -> None:
    """Set the precision of the branches' products for float32 fields.

    The relative error of a layer is about 1e-7 (float32), 3e-4 (tf32, on GPUs that support it;
    float32 elsewhere) or 4e-3 (bf16). Fields in float64 are computed in float64. On a CPU without
    bfloat16 instructions, bf16 is several times slower than float32.

    Args:
        precision: "float32", "tf32" or "bf16".

    Raises:
        ValueError: If the precision is none of these.
    """
    global _setting
    if precision not in get_args(ProductPrecision):
        raise ValueError(
            f"product precision {precision!r}; expected one of "
            f"{', '.join(get_args(ProductPrecision))}"
        )
    _setting = precision


def get_product_precision() -> ProductPrecision:
    """Return the current setting."""
    return _setting


def product_dtype(dtype: torch.dtype, precision: str) -> torch.dtype:
    """Return the type in which fields of `dtype` are multiplied."""
    return torch.bfloat16 if precision == "bf16" and dtype == torch.float32 else dtype


@contextmanager
def products(precision: str, device: torch.device) -> Iterator[None]:
    """Use tf32 for products of float32 matrices on a GPU in a context, if that is the setting."""
    if device.type != "cuda":
        yield
        return
    # Not `allow_tf32`: reading it fails once `fp32_precision` has been set.
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.fp32_precision = before
