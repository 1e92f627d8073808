"""Random temperatures that make the starts of two runs different."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

_DEGREES = 11


def temperature_noise(horizontal: Any, like: Any, size: float, seed: tuple[int, int]) -> Any:
    """Return random coefficients of degree 1 to 10.

    Args:
        horizontal: Grid of dinosaur.
        like: Coefficients of the temperature, whose shape and type the result has.
        size: Root mean square of the field, K.
        seed: Seed of the run, and number of the perturbation.
    """
    rng = np.random.default_rng([seed[0], 2**20 + seed[1]])
    noise = jnp.asarray(rng.standard_normal(like.shape), like.dtype)
    degree = jnp.arange(like.shape[-1])
    inside = horizontal.mask & (degree > 0) & (degree < _DEGREES)
    noise = jnp.where(inside, noise, 0.0)
    return noise * (size / jnp.sqrt((horizontal.to_nodal(noise) ** 2).mean()))
