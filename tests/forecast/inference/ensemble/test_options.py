"""Texts of perturbations: values, defaults, and refusals that name what is allowed."""

from __future__ import annotations

import pytest

from forecast.inference.ensemble.kinds import KINDS, PerturbationSpec


def test_options_that_are_not_given_have_their_defaults_and_are_recorded():
    spec = PerturbationSpec("field:amplitude=0.2,length=5deg,amplitude.z500=1e-1")
    assert spec.values["amplitude"] == 0.2 and spec.values["amplitude.z500"] == 0.1
    assert spec.values["length"] == "5deg" and spec.values["scale"] == "step"
    assert PerturbationSpec(str(spec)).values == spec.values
    assert set(KINDS["field"].OPTIONS) <= {
        part.partition("=")[0] for part in str(spec).partition(":")[2].split(",")
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("noise", "unknown kind 'noise'; expected one of field, balanced, bred, lagged"),
        ("feild", "unknown kind 'feild' .nearest: field.; expected one of"),
        ("field:amplitud=1", "unknown option 'amplitud' .nearest: amplitude.; expected one of"),
        ("field:amplitude=-1", "amplitude is '-1'; expected a positive number, such as 0.1"),
        ("field:amplitude=nan", "amplitude is 'nan'; expected a positive number"),
        ("field:length=500", "length is '500'; expected a positive length with its unit, such as"),
        ("field:length=-5km", "length is '-5km'; expected a positive length"),
        ("field:pattern=same", "pattern is 'same'; expected independent or common"),
        ("field:pairs=1", "pairs is '1'; expected yes or no"),
        ("field:amplitude", "option 'amplitude' has no value; write amplitude=VALUE"),
        ("field:amplitude=1,amplitude=2", "option 'amplitude' is given twice"),
        ("field:length.z500=5km", "option 'length' is for all channels, got 'length.z500'"),
        ("field:scale.z500=step", "scale.z500 is 'step'; expected a positive number in the unit"),
        ("bred:cycles=0", "cycles is '0'; expected a whole number from 1 on"),
        ("lagged:interval=0", "interval is '0'; expected a number of model steps, or an interval"),
    ],
)
def test_a_wrong_text_is_refused_with_what_is_allowed(text, message):
    with pytest.raises(ValueError, match=message):
        PerturbationSpec(text)
