"""Contents of a forecast file, as a rollout computes and checks them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from configs import layout
from configs.variables import Variable
from data_prep.store.reader import Store
from forecast.inference.output.derived import Sphere
from forecast.inference.output.options import OutputOptions
from forecast.inference.output.plausible import Limits, plausible_limits
from forecast.inference.output.selection import OutputFields
from forecast.model.forecaster import Forecaster
from forecast.model.resampling import ResamplingForecaster
from sphere_ops.grid import EARTH_RADIUS


@dataclass(frozen=True, eq=False)
class FileContents:
    """Variables that are written of each state, and the limits of its channels.

    Attributes:
        fields: Variables of the file.
        limits: Plausible range of each channel of the model.
        stop_implausible: True to end forecasts outside of it.
    """

    fields: OutputFields
    limits: Limits
    stop_implausible: bool = False

    @staticmethod
    def choose(
        options: OutputOptions,
        forecaster: Forecaster | ResamplingForecaster,
        store: Store,
        valid: Tensor | None,
    ) -> FileContents:
        """Return the contents that options ask for.

        Args:
            options: Choice of the user.
            forecaster: Model, on the grid of the store.
            store: Store of the initial states.
            valid: Points at which the model has values, bool (c, nlat, nlon), own rows; None for
                everywhere.

        Raises:
            ValueError: if a variable or its inputs are not there.
        """
        radius = store.attributes.get(layout.RADIUS, EARTH_RADIUS)
        sphere = Sphere(store.grid, radius, store.static.get("orography"))
        channels: Sequence[Variable] = forecaster.channels
        fields = OutputFields(channels, sphere, options.derive, options.variables, valid)
        return FileContents(fields, plausible_limits(forecaster, store), options.stop_implausible)
