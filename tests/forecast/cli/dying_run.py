"""Command `forecast` under torchrun; the last process kills itself once, in its 9th step."""

import os
import signal
import sys
from typing import Any

from forecast.cli.main import main
from forecast.training.trainer import Trainer
from sphere_ops.parallel.launch import restarted, world

step = Trainer.step


def stepping(self: Trainer, *args: Any) -> Any:
    if self.step_count == 8 and int(os.environ["RANK"]) == world() - 1 and not restarted():
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, *args)


if __name__ == "__main__":
    Trainer.step = stepping  # type: ignore[method-assign]
    main(sys.argv[1:])
