"""Words of a command line: overrides, and all others."""

from __future__ import annotations

from collections.abc import Sequence


def divided(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the overrides KEY=VALUE among the words of a command, and the other words."""
    from configs.load import is_override

    overrides = [word for word in words if is_override(word)]
    return overrides, [word for word in words if word not in overrides]
