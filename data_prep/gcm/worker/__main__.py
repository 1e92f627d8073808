"""Entry of the worker: python -m data_prep.gcm.worker SETTINGS FOLDER."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path


def main() -> None:
    """Run a circulation model until all its files are written.

    Progress is written to stdout, a line `DONE TOTAL DATE` for each day. The end of stdin ends the
    process: it is the end of the process that started it.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from data_prep.gcm.worker.run import run
    from data_prep.gcm.worker.settings import RunSettings

    settings, folder = RunSettings.read(Path(sys.argv[1])), Path(sys.argv[2])
    model = _model(settings)
    run(model, settings, folder, lambda done, total, day: print(done, total, day, flush=True))


def _model(settings):  # type: ignore[no-untyped-def]
    if settings.model == "jcm":
        from data_prep.gcm.worker.jcm_model import JcmModel

        return JcmModel(settings)
    if settings.model == "held_suarez":
        from data_prep.gcm.worker.held_suarez_model import HeldSuarezModel

        return HeldSuarezModel(settings)
    raise ValueError(
        f"there is no circulation model {settings.model!r}; expected jcm or held_suarez"
    )


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(3)


if __name__ == "__main__":
    main()
