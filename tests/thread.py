"""What the thread of commands writes, one after the other, for the tests of each."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Thread:
    """What the commands wrote, one after the other."""

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
