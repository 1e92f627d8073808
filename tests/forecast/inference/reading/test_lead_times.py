"""Lead times in words and in steps."""

import pytest

from configs.time.step import TimeStep
from forecast.inference.reading.lead_times import in_steps, lead_label


@pytest.mark.parametrize("step", ["20s", "7min", "30min", "1h", "6h", "1d", "5d", "1mo", "3mo"])
def test_a_label_is_a_lead_time_of_as_many_steps(step):
    interval = TimeStep.parse(step)
    for steps in (0, 1, 2, 3, 7, 41, 50, 1461):
        label = lead_label(interval, steps)
        assert in_steps(label, interval) == steps, label
        assert in_steps(label.replace(" ", ""), interval) == steps, label


@pytest.mark.parametrize("text", ["3h", "6.5h", "1mo", "d", "", "-6h", "6x", "1.2.3h", "6h6h"])
def test_what_is_no_whole_number_of_steps_has_none(text):
    assert in_steps(text, TimeStep.parse("6h")) is None


def test_lead_times_may_have_decimals():
    assert in_steps("1.5d", TimeStep.parse("6h")) == 6
    assert in_steps("1.5 months", TimeStep.parse("1mo")) is None
