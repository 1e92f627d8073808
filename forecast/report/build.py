"""Report of a run and its outputs as one HTML page."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from data_prep.store.outputs import check_output, written_beside
from forecast.report.inputs import Inputs
from forecast.report.page import Section, render
from forecast.report.sections.table import SECTIONS

Progress = Callable[[int, int, str], None]


def make_report(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    data: str | Path | None = None,
    title: str | None = None,
    progress: Progress = lambda done, total, note: None,
) -> Path:
    """Write a report that opens without a network and without any other file.

    Args:
        paths: Run folders, forecasts, scores, comparisons and climates, in any order.
        out: Page to write, `.html`.
        data: Store with the truth, for maps of errors and spectra.
        title: Title of the page; the name of the first input if None.
        progress: Function that is called with (done, total, title) before each section.

    Returns:
        Path of the page.

    Raises:
        FileNotFoundError: If an input does not exist.
        FileExistsError: If the output exists.
        ValueError: If an input is of no known kind, or damaged.
    """
    page = check_output(out, (".html",))
    if not paths:
        raise ValueError("a report of nothing; give a run folder, a forecast or scores")
    inputs = Inputs.find(paths, data)
    sections = []
    with tempfile.TemporaryDirectory() as folder:
        for done, (name, draw) in enumerate(SECTIONS.items()):
            progress(done, len(SECTIONS), name)
            section = Section(name)
            draw(inputs, section, Path(folder))
            if section.parts:
                sections.append(section)
    progress(len(SECTIONS), len(SECTIONS), "")
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    subtitle = f"Made by sphere-forecast {version('sphere-forecast')} on {now}"
    with written_beside(page) as scratch:
        text = render(title or f"Report of {Path(paths[0]).name}", subtitle, sections)
        scratch.write_text(text, encoding="utf-8")
    return page
