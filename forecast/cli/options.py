"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Preset = Annotated[
    str, typer.Argument(metavar="PRESET", help="Preset by name, or YAML file by path.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Changes of the preset, as training.steps=100."),
]

StoreOption = Annotated[Path, typer.Option("--data", metavar="STORE", help="Store to read.")]
