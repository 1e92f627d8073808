"""Initial states from gridded files, as a temporary store."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.layout import CONFIGURATION, FORMAT_VERSION
from forecast.cli.console import progress

if TYPE_CHECKING:
    from configs.time.calendar import Times
    from configs.time.step import TimeStep


@contextmanager
def starts_from(
    words: Sequence[str],
    packages: Sequence[str],
    init_times: Sequence[str] = (),
    *,
    n_steps: int | None = None,
    own_forcing: bool = True,
    own_grid: bool = False,
    n_earlier: Callable[[TimeStep], int] = lambda time_step: 0,
    overrides: Sequence[str] = (),
) -> Iterator[tuple[Path, str | None]]:
    """Find a store, or make a temporary one of the states of gridded files that a package needs.

    In a mesh all processes call this, and the first one reads the files.

    Args:
        words: Path of a store; or files, globs, folders or addresses that `forecast data ingest`
            reads.
        packages: Packages of the models; see `run_rollout`. The first one gives the variables,
            their units and the grid.
        init_times: Initial times; every time of the files if empty.
        n_steps: Number of steps; that of the package if not given.
        own_forcing: True if the files hold the forcing at all times of the forecasts.
        own_grid: True to keep the grid of the files instead of the package's.
        n_earlier: Function of the model's time step: number of steps before an initial time from
            which members of an ensemble need states.
        overrides: Settings of the ingestion, such as data.rename.T2M=t2m.

    Yields:
        Path of the store, and the split that holds its states; None for the package's default.

    Raises:
        FileNotFoundError: if there is no such file or package.
        ValueError: if the files lack what the model needs. The message names the files.
    """
    if len(words) == 1 and is_store(Path(words[0])):
        if overrides:
            raise ValueError(f"{words[0]} is a store, and {overrides[0]} is a setting for files")
        yield Path(words[0]), None
        return
    from forecast.inference.initial_times import EVERY

    def make(store: Path) -> None:
        needed = _Needed(packages, overrides, own_forcing=own_forcing, own_grid=own_grid)
        at = needed.times(init_times, n_steps, n_earlier)
        try:
            needed.ingest(words, at, store)
        except ValueError as error:
            raise ValueError(f"no start from {', '.join(words)}{needed.extent}: {error}") from error

    with temporary_store(words[0], make) as store:
        yield store, EVERY


@contextmanager
def temporary_store(words: str, make: Callable[[Path], None]) -> Iterator[Path]:
    """Make a store of files, which is deleted at the end.

    In a mesh all processes call this, and the first one makes the store.

    Args:
        words: Path or address of the files, which names the store.
        make: Function that writes a store at a path.

    Yields:
        Path of the store.
    """
    from sphere_ops.parallel.mesh import SINGLE_PROCESS, current, use

    with tempfile.TemporaryDirectory(prefix="forecast-") as folder:
        store = Path(folder) / Path(words.rstrip("/")).name
        if current().is_first:
            with use(SINGLE_PROCESS):
                make(store)
        yield Path(current().broadcast(str(store)))


def is_store(path: Path) -> bool:
    """Return True for a store, also of another version, and for a zarr path where nothing is."""
    description = path / "zarr.json"
    if not description.is_file():
        return path.suffix == ".zarr" and not path.exists()
    try:
        attributes = json.loads(description.read_bytes()).get("attributes", {})
    except ValueError:
        return True  # damaged
    return FORMAT_VERSION in attributes


class _Needed:
    """States that the forecasts of a package need."""

    def __init__(
        self,
        packages: Sequence[str],
        overrides: Sequence[str],
        *,
        own_forcing: bool,
        own_grid: bool,
    ) -> None:
        """Read the packages; see `starts_from`."""
        from configs.load import config_from_tree
        from configs.variables import BUILT_IN
        from forecast.inference.models.packages import PackageSpec, package_folder
        from forecast.model.package import load_package, read_description

        named = [PackageSpec(package) for package in packages]
        package = Path(str(named[0].first))
        self._forecaster = load_package(package)
        self._n_history = max(of.n_history(self._forecaster.time_step) for of in named)
        self._n_steps = named[0].settings().n_steps
        self._forcing = self._forecaster.forcing_channels if own_forcing else ()
        provenance = read_description(package_folder(package))["provenance"]
        tree = {
            "variables": BUILT_IN.entries_beyond((*self._forecaster.channels, *self._forcing)),
            "data": self._data(str(provenance.get(CONFIGURATION, "")), own_grid),
            "model": self._forecaster.config.model_dump(mode="json"),
        }
        self._config = config_from_tree(tree, overrides, f"for {package}")

    @property
    def extent(self) -> str:
        """States and forcing that a forecast needs, in words."""
        n_states, forcing = self._n_history + 1, ", ".join(v.name for v in self._forcing)
        history = f" with {n_states} states (model.history)" if n_states > 1 else ""
        return history + (f" with {forcing} at the time of every step" if forcing else "")

    def times(
        self,
        init_times: Sequence[str],
        n_steps: int | None,
        n_earlier: Callable[[TimeStep], int],
    ) -> Times | None:
        """Return the times of the states of forecasts, with history and forcing; None for all."""
        if not init_times:
            return None
        import numpy as np

        step = self._forecaster.time_step
        starts = np.array([step.calendar.period(text)[0] for text in init_times], dtype="M8[ns]")
        last = (n_steps or self._n_steps) if self._forcing else 0
        steps = np.arange(-self._n_history - n_earlier(step), last + 1)
        return np.unique(step.advance(starts[:, None], steps))

    def ingest(self, words: Sequence[str], at: Times | None, out: Path) -> None:
        """Write a store of the states of files."""
        from data_prep.ingest.run import ingest

        data = self._config.data
        assert data.source == "files"
        with progress("states read") as update:
            ingest(words, data, out, table=self._config.table, at=at, progress=update)

    def _data(self, trained: str, own_grid: bool) -> dict[str, Any]:
        """Return the section `data`; names and units in files are those of the training data.

        Args:
            trained: Section of the training data, YAML text.
            own_grid: True to keep the grid of the files.
        """
        import yaml

        model, grid = self._forecaster, self._forecaster.grid
        data = yaml.safe_load(trained) or {}
        kept = ("rename", "units", "select", "interpolate_levels", "regridding", "accumulation")
        data = {k: v for k, v in data.items() if k in kept and data.get("source") == "files"}
        masks = [] if model.mask is None else zip(model.channel_names, model.mask, strict=True)
        masked = {name for name, mask in masks if not mask.all()}
        return data | {
            "source": "files",
            "variables": list(model.channel_names),
            "forcing": [v.name for v in self._forcing],
            "grid": None if own_grid else {"kind": grid.kind, "nlat": grid.nlat, "nlon": grid.nlon},
            "time_step": model.time_step.label,
            "times": {"gaps": True},
            "mask": sorted(masked - set(model.moving_mask)),
            "moving_mask": list(model.moving_mask),
        }
