"""The command line: the only place that parses arguments and prints results."""

from __future__ import annotations

import importlib
import io
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence

from jdd.cli.errors import UsageError
from jdd.runs.errors import Interrupted, RunError, one_line
from jdd.runs.stderr import print_line


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``jdd`` with these arguments (the program's own if None) and returns the exit code.

    0: done. 1: a run failed. 2: a value is not possible; nothing was written. 130: stopped by the user.
    With JDD_TRACEBACK=1 in the environment, errors are printed with their traceback.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal's encoding lacks is replaced, and stops nothing.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        _import_extensions()
        from jdd.cli.parse import parse

        command = parse(arguments)
        if command is not None:
            _run(command, arguments)
        sys.stdout.flush()  # a closed pipe is an error here, and not when Python ends
    except UsageError as error:
        return _fail(2, error)
    except RunError as error:
        return _fail(1, error)
    except Interrupted as end:
        print_line(f"jdd: {one_line(end)}")
        return 130
    except KeyboardInterrupt:
        print_line("jdd: stopped")
        return 130
    except BrokenPipeError:
        # The reader of our output has closed it: nothing can be printed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(1, error)
    except Exception as error:
        if (message := _explained(error, arguments)) is None:
            raise
        return _fail(1, message)
    return 0


def _import_extensions() -> None:
    """Imports the modules that JDD_IMPORT names: they register methods and choices of a user's own."""
    names = [name.strip() for name in os.environ.get("JDD_IMPORT", "").split(",")]
    if any(names) and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # as with python -m jdd
    for name in filter(None, names):
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever a user's module raises
            reason = f"{type(error).__name__}: {one_line(error)}"
            raise UsageError(f"JDD_IMPORT: cannot import {name} ({reason})") from error


def _explained(error: Exception, arguments: Sequence[str]) -> str | None:
    """A line for what the library, or JAX while it runs, refuses; None for a defect of ours."""
    if isinstance(error, ValueError):
        return one_line(error)
    if isinstance(error, MemoryError):
        return f"out of memory: {one_line(error)}"
    # An error of JAX can only come where it was imported.
    jax = sys.modules.get("jax")
    if jax is None or not isinstance(error, jax.errors.JaxRuntimeError):
        return None
    with tempfile.NamedTemporaryFile("w", prefix="jdd-", suffix=".log", delete=False) as log:
        log.write("".join(traceback.format_exception(error)))
    full = f"the full error is in {log.name}"
    if "RESOURCE_EXHAUSTED" in str(error):
        # Only `jdd distill METHOD` has these options.
        has_them = arguments[0] == "distill" and not arguments[1].startswith("-")
        less = ": --over-classes map or a smaller --real-batch needs less" if has_them else ""
        return f"out of memory{less}; {full}"
    return f"JAX failed while it ran ({type(error).__name__}); {full}"


def _run(command: object, arguments: Sequence[str]) -> None:
    from jdd.cli import options
    from jdd.cli.expert_options import Experts
    from jdd.cli.parse import Distill
    from jdd.runs.compilation_cache import keep_compiled_programs

    # Imported by command: jax alone takes seconds, and --help needs none of it.
    match command:
        case Distill():
            from jdd.cli.distill import distill

            keep_compiled_programs()
            distill(command, arguments)
        case options.Repeat():
            from jdd.cli.distill import repeat

            keep_compiled_programs()
            repeat(command, arguments)
        case Experts():
            from jdd.cli.experts import experts

            keep_compiled_programs()
            experts(command, arguments)
        case options.Evaluate():
            from jdd.cli.evaluate import evaluate

            keep_compiled_programs()
            evaluate(command, arguments)
        case options.Show():
            from jdd.cli.show import show

            show(command)
        case options.Export():
            from jdd.cli.export import export

            export(command)
        case options.Methods():
            from jdd.cli.show import methods

            methods()


def _fail(code: int, error: Exception | str) -> int:
    if os.environ.get("JDD_TRACEBACK") == "1":
        traceback.print_exc()
    print_line(f"jdd: error: {one_line(error)}")
    return code
