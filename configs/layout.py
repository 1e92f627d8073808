"""Names and versions of files on disk: stores, packages, run folders and forecasts."""

from typing import Final

FORMAT_VERSION: Final = "format_version"
"""Key of the format version in stores and packages."""
STORE_VERSION: Final = 1
PACKAGE_VERSION: Final = 9
CONVENTIONS: Final = "CF-1.8"

SPLITS: Final = ("train", "validation", "test")

LOGGERS: Final = ("forecast", "data_prep", "sphere_ops", "configs")
"""Names of the loggers of this project, which are those of its packages."""

# --- the store: one zarr v3 group -----------------------------------------------------------------

FIELDS: Final = "fields"
"""float32 ([trajectory,] time, channel, latitude, longitude)."""
STATIC: Final = "static"
"""float32 (channel_static, latitude, longitude); absent without static fields."""
MASK: Final = "mask"
"""int8 (channel, latitude, longitude), 1 = valid; absent without a mask. Of a channel of
`MOVING_MASK`, 1 = valid at some times."""
MOVING_MASK: Final = "moving_mask"
"""Attribute of stores and forecast files: names of the channels that are also missing at points
inside their mask, at times that change; separated by spaces, absent without such channels. In
packages a list."""
SPLIT: Final = "split"
"""str (time,) or (trajectory,): one of SPLITS, or "" for none."""

TRAJECTORY: Final = "trajectory"
TIME: Final = "time"
CHANNEL: Final = "channel"
CHANNEL_STATIC: Final = "channel_static"
LATITUDE: Final = "latitude"
LONGITUDE: Final = "longitude"
MONTH: Final = "month"
DEGREE: Final = "degree"
DAY_OF_YEAR: Final = "dayofyear"
HOUR: Final = "hour"

CHANNEL_ATTRIBUTES: Final = (
    "standard_name", "long_name", "units", "role", "conserved", "positive", "accumulated",
)  # fmt: skip
"""Coordinates over the channels: `channel_units`, ... Older stores lack the last two."""
STATIC_ATTRIBUTES: Final = ("standard_name", "long_name", "units")
"""Coordinates over the static fields: `channel_static_units`, ..."""

MEAN: Final = "mean"
STD: Final = "std"
STD_STEP: Final = "std_step"
TIME_MEAN: Final = "time_mean"
"""float32 (channel, latitude, longitude): mean over the training split; not in older stores."""
MINIMUM: Final = "minimum"
MAXIMUM: Final = "maximum"
"""float64 (channel,): extremes over the training split; not in older stores."""
CLIMATOLOGY: Final = "climatology"
DAILY_CLIMATOLOGY: Final = "daily_climatology"
"""float32 (dayofyear, hour, channel, latitude, longitude): mean over the training split by day of
the year and hour of the day, in a window of days; absent unless it is asked for."""
CLIMATOLOGY_STD: Final = "climatology_std"
CLIMATOLOGY_STD_STEP: Final = "climatology_std_step"
LARGEST_POWER: Final = "largest_power"
CLIMATOLOGY_LARGEST_POWER: Final = "climatology_largest_power"
"""float32 (channel, degree): largest power of each degree over the training split, of departures
from the mean and from the climatology, in squared standard deviations. The last entry is the power
of all higher degrees. Absent in older stores."""

SEED: Final = "seed"
CASE: Final = "case"

GRID_KIND: Final = "grid_kind"
TIME_STEP: Final = "time_step"
RADIUS: Final = "radius"
CONFIGURATION: Final = "configuration"
PROVENANCE: Final = "provenance"
PLAN: Final = "plan"
"""JSON text of the plan by which the store was made from its sources; absent in older stores."""
BLOCKS: Final = "blocks"
"""Group of a store of one time series, with the statistics of each block of times and the digests
of the files of the fields. Not in older stores."""

# --- the package: a folder ------------------------------------------------------------------------

WEIGHTS_FILE: Final = "model.safetensors"
PACKAGE_FILE: Final = "package.json"
DIGESTS: Final = "weights_sha256"
"""List of digests of the weights file and of the file that it replaced."""
FORCING_CHANNELS: Final = "forcing_channels"
"""Channels that are given at every time; `channels` are those that are predicted."""
ROLLOUT: Final = "rollout"
"""Defaults of a forecast, the `rollout` section of the configuration."""

# --- the run folder -------------------------------------------------------------------------------

PACKAGE: Final = "package"
"""Package of the last state of the model."""
BEST: Final = "best"
"""Package with the lowest validation error."""
CHECKPOINTS: Final = "training_state"
"""Folder of the checkpoints."""
CONFIG_FILE: Final = "config.yaml"
METRICS_FILE: Final = "metrics.jsonl"
LOG_FILE: Final = "train.log"

# --- the forecast file ----------------------------------------------------------------------------

INIT_TIME: Final = "init_time"
LEAD_TIME: Final = "lead_time"
VALID_TIME: Final = "valid_time"
MEMBER: Final = "member"
"""Dim and coordinate of the members of an ensemble; absent for single forecasts."""
PERIOD: Final = "period"
"""Dim of statistics over periods of valid time."""
