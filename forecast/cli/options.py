"""Arguments and options of several commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Preset = Annotated[
    str, typer.Argument(metavar="PRESET", help="Name of a preset, or path of a YAML file.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE", help="Overrides of the preset, such as training.steps=100."
    ),
]

StoreOption = Annotated[Path, typer.Option("--data", metavar="STORE", help="Store to read.")]
