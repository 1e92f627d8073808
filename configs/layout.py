"""Names of the store's dimensions and arrays, so that its writer and its reader cannot disagree."""

FORMAT_VERSION = 1

TRAJECTORY = "trajectory"
TIME = "time"
CHANNEL = "channel"
CHANNEL_STATIC = "channel_static"
MONTH = "month"
LATITUDE = "latitude"
LONGITUDE = "longitude"

FIELDS = "fields"
STATIC = "static"
MASK = "mask"
SPLIT = "split"
SEED = "seed"
CASE = "case"

MEAN = "mean"
STD = "std"
STD_STEP = "std_step"
CLIMATOLOGY = "climatology"
CLIMATOLOGY_STD = "climatology_std"
CLIMATOLOGY_STD_STEP = "climatology_std_step"

SPLITS = ("train", "validation", "test")
CHANNEL_ATTRIBUTES = ("standard_name", "long_name", "units", "role", "conserved")
STATIC_ATTRIBUTES = ("standard_name", "long_name", "units")
