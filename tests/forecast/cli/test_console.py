"""Progress without a terminal: few lines, and always the last one."""

import logging
import warnings

import pytest

from configs import layout
from forecast.cli import console
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


@pytest.mark.parametrize(("level", "shown"), [(logging.INFO, False), (logging.DEBUG, True)])
def test_warnings_of_libraries_are_shown_to_those_who_ask_for_more(
    level: int, shown: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.root, "handlers", logging.root.handlers[:])
    levels = {name: logging.getLogger(name).level for name in layout.LOGGERS}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            console.configure(level)
            warnings.warn("an input example was not provided", UserWarning, stacklevel=1)
    finally:
        logging.captureWarnings(False)
        for name, before in levels.items():
            logging.getLogger(name).setLevel(before)
    assert ("input example" in capsys.readouterr().err) is shown
