import numpy as np
import torch

from configs.time.step import TimeStep
from data_prep.store.climatology import Climatology

MONTHLY = torch.arange(12.0).reshape(12, 1, 1, 1)


def at(step: str, *times: str) -> list[float]:
    climatology = Climatology(MONTHLY, TimeStep.parse(step))
    return climatology.at(np.array(times, dtype="datetime64[ns]")).flatten().tolist()


def test_monthly_data_have_the_mean_of_their_month() -> None:
    assert at("1mo", "2001-01-01", "2001-12-01", "2002-03-01") == [0, 11, 2]


def test_finer_data_are_interpolated_between_the_middles_of_months() -> None:
    middles = at("6h", "2001-01-16T12:00", "2001-12-16T12:00")
    assert middles == [0, 11]
    assert at("1d", "2001-04-01", "2001-02-01") == [2.5, 0.5]


def test_a_climatology_has_no_jump_at_the_turn_of_the_year() -> None:
    before, after = at("6h", "2001-12-31T23:59:59", "2002-01-01")
    assert abs(before - after) < 1e-4 and after == 5.5
