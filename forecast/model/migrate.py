"""Packages of earlier formats, brought to the present one when they are read.

Version 2: the climatology, where it is the baseline, is an input of the network; the settings of
the model name the MLP and the grid of the blocks.
Version 3: a package may hold the largest power of every degree, which its rollouts keep to.
Version 4: a package holds the digest of its weights and the defaults of its forecasts.
Version 5: a package names the channels that may be missing at points that change.
Version 6: a package names the channels that are given at every time.
Version 7: the settings of the model say which noise it gets in every step.
Version 8: the settings of the local branches say which degrees they are fitted to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from configs import layout
from configs.schema import RolloutConfig

Migration = Callable[[dict[str, Any], dict[str, Tensor]], None]
"""Changes the description and the tensors of a package to those of the next version."""


def migrate(description: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Bring a package to the present version, one version after the other, in place.

    Args:
        description: the JSON part; its version is one that `MIGRATIONS` leads on from.
        tensors: by name.

    Raises:
        ValueError: if the package holds a network that this program does not have.
    """
    while (version := description[layout.FORMAT_VERSION]) < layout.PACKAGE_VERSION:
        MIGRATIONS[version](description, tensors)
        description[layout.FORMAT_VERSION] = version + 1


def _the_climatology_is_an_input(description: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """To version 2: weights for an input that the network did not have are zero."""
    if "network.encoder.weight" not in tensors:
        raise ValueError(
            "this package holds a network with an encoder of two layers, which is no longer known; "
            "load it with the version of sphere-forecast that wrote it, or train again"
        )
    model = description["model"]
    model.setdefault("mlp", "gelu")
    model.setdefault("grid", None)
    prognostic = [c for c in description["channels"] if c["role"] == "prognostic"]
    before = len(prognostic) + len(model["forcing"])
    without = before + len(tensors["static"])
    if (
        "normalizer.climatology" not in tensors
        or tensors["network.encoder.weight"].shape[1] != without
    ):
        return  # programs of version 1 wrote such packages too, towards the end
    for layer, first in (("encoder", before), ("decoder", model["channels"] + before)):
        name = f"network.{layer}.weight"  # (out, in)
        left, right = tensors[name][:, :first], tensors[name][:, first:]
        zeros = left.new_zeros(len(left), len(prognostic))
        tensors[name] = torch.cat([left, zeros, right], dim=1)


def _no_spectral_limit(description: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """To version 3: nothing limits what was trained before there was a limit."""
    description["model"]["spectral_limit"] = None


def _built_in_defaults(description: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """To version 4: the defaults of a forecast were in the run folder, if the package was there."""
    description[layout.ROLLOUT] = RolloutConfig().model_dump(mode="json")


def _no_moving_mask(description: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """To version 5: all masks were constant."""
    description[layout.MOVING_MASK] = []


def _nothing_is_given(description: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """To version 6: all channels of a model were predicted."""
    description[layout.FORCING_CHANNELS] = []


def _no_noise(description: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """To version 7: all models were deterministic."""
    description["model"]["noise"] = None


def _no_fit(description: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """To version 8: derivatives were those of polynomials, kernels were sampled."""
    for name in ("integral", "differential"):
        if (branch := description["model"]["branches"].get(name)) is not None:
            branch["fit_lmax"] = None


MIGRATIONS: dict[int, Migration] = {
    1: _the_climatology_is_an_input,
    2: _no_spectral_limit,
    3: _built_in_defaults,
    4: _no_moving_mask,
    5: _nothing_is_given,
    6: _no_noise,
    7: _no_fit,
}
"""Migration from each earlier version to the next."""
