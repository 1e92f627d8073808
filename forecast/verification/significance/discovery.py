"""False discovery rate: which of many differences are significant together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def discoveries(p_values: ArrayLike, rate: float) -> NDArray[np.bool_]:
    """Return the tests that are significant at a false discovery rate.

    Of many differences that are all zero, a share 1 − confidence is significant by chance.
    Benjamini and Hochberg 1995 (J. R. Stat. Soc. B 57) limit the expected share of such differences
    among the significant ones: the k smallest p-values are significant, with the largest k for
    which p_(k) ≤ rate · k / N. It holds for positively correlated tests, too (Wilks 2016, Bull. Am.
    Meteorol. Soc. 97).

    Args:
        p_values: p-values of any shape; NaN where there is no test.
        rate: Largest expected share of false ones among the significant tests.

    Returns:
        Mask of the shape of the p-values.
    """
    p: NDArray[Any] = np.asarray(p_values, dtype=np.float64)
    tests = np.sort(p[np.isfinite(p)])
    passed = np.flatnonzero(tests <= rate * np.arange(1, len(tests) + 1) / max(1, len(tests)))
    limit = tests[passed[-1]] if len(passed) else -1.0
    return p <= limit
