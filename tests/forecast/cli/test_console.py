"""Progress where there is no terminal: few lines, the last one always."""

import logging

import pytest

from forecast.cli.console import progress


def test_a_long_loop_logs_its_end_and_little_else(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "forecast"), progress("steps") as update:
        for done in range(1, 1001):
            update(done, 1000)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("steps 1000/1000 in ")


def test_a_note_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "forecast"), progress("files") as update:
        update(2, 2, "a.nc")
    assert caplog.messages[0].endswith(", a.nc")


def test_quiet_means_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "forecast"), progress("steps") as update:
        update(1, 1)
    assert caplog.messages == []
