"""Loop of a training run: steps, validations, checkpoints and reports."""

from __future__ import annotations

import json
import logging
import math
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from configs import layout
from configs.schema import Config
from data_prep.store.reader import Store
from forecast.model.package import save_package
from forecast.training.checkpoint import load_checkpoint, save_checkpoint
from forecast.training.display import Display, display
from forecast.training.memory import explain_out_of_memory
from forecast.training.processes import interrupts
from forecast.training.run_folder import NON_FINITE_FILE, record_skipped
from forecast.training.samples.batches import Batch, Windows, batches
from forecast.training.schedule import Phase, phases, push_forward_steps
from forecast.training.tracking.git import git_commit
from forecast.training.tracking.mlflow_tracker import MLflowTracker
from forecast.training.tracking.recorder import MetricsFile, MetricsUploader, system_metrics
from forecast.training.tracking.tracker import RunDescription, Tracker
from forecast.training.trainer import StepResult, Trainer
from forecast.training.training_curves import draw_curves
from sphere_ops.parallel.mesh import current

log = logging.getLogger(__name__)

_CURVES_FILE = "curves.png"


@dataclass(frozen=True)
class RunResult:
    """Result of a run.

    Attributes:
        run: its folder.
        step: optimiser steps done.
        validation: errors of the last validation, empty if there was none.
        stopped_by: the signal that stopped it before its last step, None if it was completed.
    """

    run: Path
    step: int
    validation: dict[str, float]
    stopped_by: signal.Signals | None = None


class Run:
    """Loop of one process, from the first step or the last checkpoint to the end.

    In a mesh all do the same; the first one writes files and logs.
    """

    def __init__(
        self, config: Config, store: Store, trainer: Trainer, out: Path, tracker: Tracker | None
    ) -> None:
        self.config, self.store, self.trainer, self.out = config, store, trainer, out
        self.training = config.training
        self.validation: dict[str, float] = {}
        self.best = math.inf
        self.skipped = 0
        checkpoint = load_checkpoint(out)
        if checkpoint is not None:
            trainer.restore(checkpoint)
            best = checkpoint.values["best"]
            self.best = best if best is not None else math.inf
            self.skipped = checkpoint.values["skipped"]
            self.validation = checkpoint.values["validation"]
            log.info("resuming at step %d of %d", trainer.step_count, self.training.steps)
        first = current().broadcast(self.step)
        if first != self.step:
            raise ValueError(
                f"the first process goes on from step {first} of {out}, another one from step "
                f"{self.step}; all machines have to see the same run folder"
            )
        if trainer.choice.reason:
            log.warning("%s is used: %s", trainer.choice.name, trainer.choice.reason)
        self.mesh, self.n_history = current(), config.model.n_history
        self.metrics = MetricsFile(out / layout.METRICS_FILE) if self.mesh.is_first else None
        self.uploader = self._uploader(tracker) if self.mesh.is_first else None

    def run(self) -> RunResult:
        """Train to the last step, or to a signal."""
        completed = False
        if self.uploader is not None:
            self.uploader.start()
        try:
            with interrupts() as received, display(self.training.steps, self.step) as shown:
                self._steps(shown, received)
            completed = self.step >= self.training.steps
        finally:
            if self.metrics is not None:
                self.metrics.close()
                self._draw_curves(self.metrics)
            self._end_upload(completed)
        if not completed:
            log.warning(
                "stopped at step %d of %d by %s; everything is saved, go on with --resume",
                self.step, self.training.steps, received[0].name,
            )  # fmt: skip
        stopped_by = None if completed else received[0]
        return RunResult(self.out, self.step, self.validation, stopped_by)

    @property
    def step(self) -> int:
        """Optimiser steps done."""
        return self.trainer.step_count

    def _steps(self, shown: Display, received: list[signal.Signals]) -> None:
        validation = self._validation_windows()
        recent: list[StepResult] = []
        for phase in phases(
            self.training.steps,
            self.training.rollout_steps,
            self.training.rollout_from,
            self.config.model.bundle,
        ):
            for parts in self._batches(phase):
                self.mesh.note(f"step {self.step + 1}")
                result = self.trainer.step(parts, phase.n_steps)
                stopped = self.mesh.any_rank(bool(received))
                recent.append(result)
                self._check(result, parts)
                last = self.step == self.training.steps
                record: dict[str, float] = {}
                if self.step % self.training.log_every == 0 or last:
                    record |= self._summary(recent, phase, shown)
                    recent = []
                validated = self.step % self.training.validate_every == 0 or last
                if validated:
                    record |= self._validate(validation, shown)
                if record and self.metrics is not None:
                    self.metrics.write(self.step, record)
                if validated or stopped:
                    self._save()
                if stopped:
                    received.append(signal.SIGTERM)  # if it was another process that got it
                    return

    def _batches(self, phase: Phase) -> Iterator[list[Batch]]:
        """Yield the batches of each step that is left of a phase."""
        accumulate, t = self.training.accumulate, self.training
        begin = max(self.step, phase.first)
        if begin >= phase.last:
            return
        bundle = self.config.model.bundle
        longest = phase.n_steps + t.push_forward * bundle
        windows = Windows(self.store, "train", longest, self.n_history)
        first, last = (n - phase.first for n in (begin, phase.last))
        replay = self.trainer.replay_plan(windows, phase.n_steps)
        replay_from = max(round(t.replay_from * t.steps) - phase.first, 0)
        stream = batches(
            windows,
            t.batch_size,
            t.seed + phase.n_steps,
            first * accumulate,
            last * accumulate,
            workers=t.workers,
            pin_memory=self.trainer.device.type == "cuda",
            part=self.mesh.data.rank,
            parts=self.mesh.data.ranks,
            replay=replay,
            replay_from=replay_from * accumulate,
        )
        for step in range(begin, phase.last):
            self.mesh.note(f"reading the batch of step {step + 1}")
            pushed = push_forward_steps(t.push_forward, t.seed, step) * bundle
            with explain_out_of_memory(t, self.trainer.device):
                parts = [next(stream) for _ in range(accumulate)]
            yield [part.first_steps(phase.n_steps + pushed) for part in parts]

    def _check(self, result: StepResult, parts: list[Batch]) -> None:
        """Log a skipped step, and stop at too many."""
        if result.taken:
            return
        self.skipped += 1
        own = [self.store.describe(i, s) for part in parts for i, s in part.starts]
        batch = [start for starts in self.mesh.all_gather(own) for start in starts]
        if self.mesh.is_first:
            record_skipped(self.out, self.step, result, batch)
        log.warning("step %d skipped: its loss is %s", self.step, result.loss)
        if self.skipped > self.training.max_skipped:
            self._save()
            raise ValueError(
                f"training stopped at step {self.step}: {self.skipped} steps had a loss or "
                f"gradient that is not finite (training.max_skipped is "
                f"{self.training.max_skipped}); lower training.learning_rate, now "
                f"{self.training.learning_rate:g}, or look at the batches in "
                f"{self.out / NON_FINITE_FILE}"
            )

    def _summary(self, recent: list[StepResult], phase: Phase, shown: Display) -> dict[str, float]:
        """Metrics of the last steps, which are also shown."""
        seconds = sum(r.seconds for r in recent)
        samples = len(recent) * self.training.batch_size * self.training.accumulate
        losses = [r.loss for r in recent if r.taken] or [math.nan]
        values = {
            "train/loss": float(np.mean(losses)),
            "train/gradient_norm": recent[-1].gradient_norm,
            "train/learning_rate": recent[-1].learning_rate,
            "train/rollout_steps": phase.n_steps,
            "train/skipped": self.skipped,
            "train/samples_per_second": samples / seconds,
        }
        shown.step(self.step, values["train/loss"], values["train/samples_per_second"])
        return values | system_metrics()

    def _validate(self, windows: Windows | None, shown: Display) -> dict[str, float]:
        """Roll out from validation states, and keep the package if it is the best."""
        if windows is not None:
            count = min(self.training.validation_states, len(windows))
            indices = np.linspace(0, len(windows) - 1, count).round().astype(int)
            self.validation = self.trainer.validate(windows, indices.tolist())
            shown.validation(self.validation)
        error = self.validation.get("validation/relative_l2", -self.step)
        error = self.validation.get("validation/crps", error)
        better = error < self.best or not (self.out / layout.BEST).exists()
        if self.mesh.broadcast(better):
            self.best = error if math.isfinite(error) else math.inf
            self._save_package(layout.BEST)
        return self.validation

    def _save(self) -> None:
        """Save the package, and what the run continues from."""
        self._save_package(layout.PACKAGE)
        checkpoint = self.trainer.checkpoint()
        checkpoint.values |= {
            "best": self.best if math.isfinite(self.best) else None,
            "skipped": self.skipped,
            "validation": self.validation,
        }
        save_checkpoint(checkpoint, self.out, self.training.keep_checkpoints)

    def _save_package(self, name: str) -> None:
        summary = {
            "step": self.step,
            "steps": self.training.steps,
            "configuration": self.training.model_dump(mode="json"),
            "optimizer": self.trainer.choice.name,
            "validation": self.validation,
        }
        provenance = {
            "store": str(self.store.path.absolute()),
            "data": json.loads(self.store.provenance),
            layout.CONFIGURATION: str(self.store.attributes.get(layout.CONFIGURATION, "")),
            "git_commit": git_commit(),
            "torch": torch.__version__,
        }
        save_package(
            self.trainer.averaged(),
            self.out / name,
            rollout=self.config.rollout,
            training=summary,
            provenance=provenance,
        )

    def _validation_windows(self) -> Windows | None:
        if "validation" not in self.store.split:
            log.warning(
                "%s has no validation split: the last package counts as the best", self.store.path
            )
            return None
        return Windows(self.store, "validation", self.training.validation_rollout, self.n_history)

    def _draw_curves(self, metrics: MetricsFile) -> None:
        if metrics.last_step < 0:
            return
        try:
            draw_curves(metrics.path, self.out / _CURVES_FILE)
        except OSError as error:  # nothing is lost with it, and what ended the run counts
            log.warning("%s is not drawn: %s", _CURVES_FILE, error)

    def _uploader(self, tracker: Tracker | None) -> MetricsUploader | None:
        tracking = self.config.tracking
        if tracker is None:
            if not tracking.enabled:
                return None
            tracker = MLflowTracker(tracking.uri)
        description = RunDescription(
            experiment=tracking.experiment,
            name=tracking.run_name or self.out.absolute().name,
            parameters=self.config.model_dump(mode="json")
            | {"parameters": self.trainer.forecaster.network.parameter_counts()},
            tags={
                "mlflow.source.git.commit": git_commit(),
                "mlflow.source.name": "forecast train",
                "optimizer": self.trainer.choice.name,
                "device": str(self.trainer.device),
                "store": str(self.store.path.absolute()),
                "run_folder": str(self.out.absolute()),
            },
            dataset=str(self.store.path.absolute()),
            provenance=self.store.provenance,
        )
        return MetricsUploader(self.out, tracker, description)

    def _end_upload(self, completed: bool) -> None:
        if self.uploader is None:
            return
        artifacts = [(self.out / layout.CONFIG_FILE, ""), (self.out / layout.LOG_FILE, "")]
        artifacts.append((self.out / _CURVES_FILE, "figures"))
        package = self.out / layout.BEST if completed else None
        if not self.uploader.end(artifacts, completed, package):
            log.warning(
                "the tracker did not take everything; it is in %s, and --resume sends the rest",
                self.out / layout.METRICS_FILE,
            )
