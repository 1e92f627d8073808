"""Files that the commands of the workflow write, for the tests of each command."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Workflow:
    """Folders with the output of each command."""

    folder: Path

    @property
    def store(self) -> Path:
        return self.folder / "store.zarr"

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def forecast(self) -> Path:
        return self.folder / "forecast.nc"

    @property
    def scores(self) -> Path:
        return self.folder / "scores.nc"
