"""Outcome of the forecasts of a rollout: early ends, and reports of what went wrong."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from forecast.inference.failures import EarlyStop
from forecast.inference.output.plausible import Implausible
from sphere_ops.parallel.mesh import current

log = logging.getLogger(__name__)

Report = EarlyStop | Implausible

_KINDS: dict[str, type[EarlyStop] | type[Implausible]] = {
    kind.__name__: kind for kind in (EarlyStop, Implausible)
}


@dataclass
class Outcome:
    """Early ends and reports up to now, the same in all processes of a mesh.

    Attributes:
        last_step: last model step of each forecast that ended early, by row.
        reports: row and report of each forecast that ended early or became implausible.
    """

    last_step: dict[int, int] = field(default_factory=dict)
    reports: list[tuple[int, Report]] = field(default_factory=list)

    def to_json(self) -> str:
        """Return the outcome as JSON text."""
        reports = [(row, type(one).__name__, asdict(one)) for row, one in self.reports]
        return json.dumps({"last_step": self.last_step, "reports": reports})

    @classmethod
    def from_json(cls, text: str) -> Outcome:
        """Return the outcome whose `to_json` this is."""
        values = json.loads(text)
        last_step = {int(row): step for row, step in values["last_step"].items()}
        return cls(last_step, [(row, _KINDS[k](**v)) for row, k, v in values["reports"]])


def log_reports(reports: Iterable[Report]) -> None:
    """Log reports as warnings, on the first process of a mesh."""
    if current().is_first:
        for report in reports:
            log.warning("%s", report)
