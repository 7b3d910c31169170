"""The command line. The only place that prints, parses, or touches files besides data and artefacts."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

from jdd.cli.errors import Interrupted, RunError, UsageError, one_line
from jdd.runs.compilation_cache import keep_compiled_programs


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``jdd`` with these arguments (the program's own if None) and returns the exit code.

    0: done. 1: a run went wrong. 2: a value is not possible; nothing was written. 130: stopped by
    the user. With JDD_TRACEBACK=1 in the environment, what the library refused comes with its
    traceback.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        from jdd.cli.parse import parse

        command = parse(arguments)
        if command is not None:
            _run(command, arguments)
    except UsageError as error:
        return _fail(2, error)
    except RunError as error:
        return _fail(1, error)
    except Interrupted as end:
        print(f"jdd: {one_line(end)}", file=sys.stderr, flush=True)
        return 130
    except KeyboardInterrupt:
        print("jdd: stopped", file=sys.stderr, flush=True)
        return 130
    except BrokenPipeError:
        # The reader of our output has left; there is no one to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(1, error)
    except Exception as error:
        if (message := _explained(error)) is None:
            raise
        if os.environ.get("JDD_TRACEBACK") == "1":
            traceback.print_exc()
        return _fail(1, message)
    return 0


def _explained(error: Exception) -> str | None:
    """A line for what the library, or JAX while it runs, refuses; None for a defect of ours."""
    if isinstance(error, ValueError):
        return one_line(error)
    # An error of JAX can only come where it was imported.
    jax = sys.modules.get("jax")
    if jax is None or not isinstance(error, jax.errors.JaxRuntimeError):
        return None
    first = one_line((str(error).strip().splitlines() or [""])[0])
    if "RESOURCE_EXHAUSTED" in str(error):
        return (
            f"out of memory: {first} (jdd distill needs less with --over-classes map or a smaller "
            "--real-batch)"
        )
    return first


def _run(command: object, arguments: Sequence[str]) -> None:
    from jdd.cli import commands
    from jdd.cli.places import check_run_folder, run_folder

    # Imported by command: jax alone takes seconds, and --help shall not.
    match command:
        case commands.Distill():
            check_run_folder(run_folder(command), resume=command.run.resume)
            from jdd.cli.distill import distill

            keep_compiled_programs()
            distill(command, arguments)
        case commands.Evaluate():
            from jdd.cli.evaluate import evaluate

            keep_compiled_programs()
            evaluate(command)
        case commands.Show():
            from jdd.cli.show import show

            show(command)
        case commands.Methods():
            from jdd.cli.show import methods

            methods()


def _fail(code: int, error: Exception | str) -> int:
    print(f"jdd: error: {one_line(error)}", file=sys.stderr, flush=True)
    return code
