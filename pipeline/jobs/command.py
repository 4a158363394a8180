"""The command line: ``python -m pipeline FILE.yaml [key=value ...]``."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

__all__ = ["main"]

_EPILOG = """\
examples:
  python -m pipeline configs/quickstart.yaml
  python -m pipeline configs/quickstart.yaml archive=/tmp/demo steps.0.import.source.simulated.devices=100

exit codes:
  0  all steps succeeded; or nothing was done, as the job says of a run that meets another one
  1  a step failed; the archive stays at its last commit, the JSON report says what happened
  2  the job file cannot be used
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a job file and return the exit code.

    Parameters
    ----------
    arguments
        Of the command line; those of the process by default.
    """
    told = _parser().parse_intermixed_args(arguments)
    # Everything heavy is imported from here on, so that --help and typing errors answer at once.
    import os

    from pipeline.errors import ArchiveError
    from pipeline.jobs.job_file import load_job

    try:
        loaded = load_job(told.file, told.overrides, os.environ)
    except ArchiveError as error:
        return _fail(error, 2)
    _show_log(told.quiet)

    # A job that a batch system ends writes its report like one that is interrupted.
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    try:
        from pipeline.jobs.progress import LogLines, progress_for
        from pipeline.jobs.runner import run_job

        report = run_job(
            loaded,
            out=sys.stdout,
            progress=LogLines() if told.quiet else progress_for(sys.stderr),
        )
    except ArchiveError as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    if report["skipped"]:
        print(f"skipped: {report['skipped']}", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline",
        description="Run a job file: import readings into an archive, ask it, report.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE.yaml", help="the job file")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="replaces a value of the file; the key is a dotted path, the value is YAML",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="do not tell progress")
    return parser


def _show_log(quiet: bool) -> None:
    import logging

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log = logging.getLogger("pipeline")
    log.addHandler(handler)
    log.setLevel(logging.WARNING)
    # Every single commit is told by the archive's own log; the job's tells how far it is.
    logging.getLogger("pipeline.jobs").setLevel(logging.WARNING if quiet else logging.INFO)


def _fail(error: Exception, code: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code
