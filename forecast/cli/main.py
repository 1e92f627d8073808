"""Command `forecast`: parses arguments, calls one function, and prints errors as one line."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from forecast.cli import (
    climate,
    console,
    data,
    doctor,
    evaluate,
    export,
    report,
    rollout,
    runs,
    train,
)
from forecast.cli.plot import commands as plot

_ORDER = (
    "data", "train", "rollout", "evaluate", "climate", "plot", "report", "export", "runs", "doctor"
)  # fmt: skip


class _InOrderOfUse(TyperGroup):
    """Group that lists its commands in the order of the workflow."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands in the order of `--help`."""
        return sorted(self.commands, key=_ORDER.index)


app = typer.Typer(
    name="forecast",
    cls=_InOrderOfUse,
    help="Forecast fields on the sphere: make data, train, roll out, score, draw.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(data.app, name="data")
app.command("train")(train.train)
app.command("rollout")(rollout.rollout)
app.command("evaluate")(evaluate.evaluate)
app.command("climate")(climate.climate)
app.add_typer(plot.app, name="plot")
app.command("report")(report.report)
app.add_typer(export.app, name="export")
app.command("runs")(runs.runs)
app.command("doctor")(doctor.doctor)

_GLOBAL_FLAGS = ("--debug", "--quiet", "-q", "--verbose", "-v")
_INTERRUPTED = 130  # 128 + SIGINT, the exit code of shells
# Base class of errors in the command line; typer exports only its subclass BadParameter.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"sphere-forecast {version('sphere-forecast')}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Log only warnings and errors.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log details.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    level = logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO
    console.configure(level)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit.

    Exit codes: 0 success; 2 an error of the user (one line on stderr); 3 a rollout that is written
    but has forecasts that ended early because of values that are not finite (one line each);
    4 one with values that are not plausible; 130 interrupted.

    Args:
        arguments: Words after `forecast`; those of the process if None.
    """
    try:
        _main(arguments)
    except SystemExit as end:
        if arguments is None and isinstance(end.code, int) and end.code:
            _leave(end.code)
        raise


def _leave(code: int) -> None:
    """End the process after a failure, without waiting for the threads of libraries.

    The interpreter would wait for some of these threads, and abort because of others.
    """
    for child in multiprocessing.active_children():
        child.terminate()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # a closed pipe
            stream.flush()
    os._exit(code)


def _main(arguments: Sequence[str] | None) -> None:
    words = list(sys.argv[1:] if arguments is None else arguments)
    # Global flags may stand anywhere.
    flags = [word for word in words if word in _GLOBAL_FLAGS]
    words = flags + [word for word in words if word not in _GLOBAL_FLAGS]
    try:
        code = app(words, prog_name="forecast", standalone_mode=False) or 0
        if code == _INTERRUPTED:  # the result of typer for a KeyboardInterrupt
            raise KeyboardInterrupt
        sys.exit(code)
    except _UsageError as error:
        message = error.format_message()  # type: ignore[attr-defined]
        if not message:  # no command was given, and typer has printed the help
            sys.exit(2)
        if getattr(error, "option_name", None) == "--set":
            message = "overrides are written as KEY=VALUE, without --set"
        _fail(f"{message.replace('Value error, ', '')} (try --help)")
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("interrupted", err=True)
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # `forecast ... | head` is no error
        sys.exit(1)
    except (ValueError, OSError) as error:
        if "--debug" in flags:
            raise
        _fail(_one_line(error))
    except (MemoryError, RuntimeError) as error:
        from forecast.training.memory import is_out_of_memory

        if "--debug" in flags or not is_out_of_memory(error):
            raise
        _fail(
            f"out of memory ({_one_line(error)}); make the grid, the truncation, the model or the "
            "batch smaller"
        )


def _one_line(error: Exception) -> str:
    """Return the message of an error without line breaks."""
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        text = f"{error.strerror}: {error.filename}"
    return text or type(error).__name__


def _fail(message: str) -> None:
    said: str | None = message
    if "RANK" in os.environ:  # one of several processes, which may have the same error
        from sphere_ops.parallel.launch import failure_message

        said = failure_message(message)
    if said is not None:
        typer.echo(f"error: {said}", err=True)
    sys.exit(2)
