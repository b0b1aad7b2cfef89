"""``python -m cpcnn_core.cli.run_job JOB.json RESULT.json``: a job that another process wrote.

``cpcnn compare`` starts it for every model. What is printed and logged is that of ``cpcnn embed``;
the result says the same in a form that programs read.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cpcnn_core.cli.embed import embed_job
from cpcnn_core.cli.main import follow, run
from cpcnn_core.cli.messages import add_message_options, told_error
from cpcnn_core.user_messages import printable

if TYPE_CHECKING:
    from cpcnn_core.screen.reports import JobResult


def main(arguments: Sequence[str]) -> int:
    """Do the job and write its result; return the exit status, as `cpcnn_core.cli.main.main`."""
    parser = argparse.ArgumentParser(prog="python -m cpcnn_core.cli.run_job")
    parser.add_argument("job")
    parser.add_argument("result")
    add_message_options(parser, again=False)
    parser.set_defaults(do=_run)
    return follow(parser.parse_args(arguments), [parser.prog, *arguments])


def _run(options: argparse.Namespace) -> int:
    from cpcnn_core.io.dataclass_json import write_dataclass
    from cpcnn_core.screen.reports import JobResult

    result = JobResult()
    try:
        _do(options.job, result)
    except Exception as error:
        result.error = printable(told_error(error, options))
        # What is wrong is said by the error; the disk may be full, and hold no result either.
        with contextlib.suppress(OSError):
            write_dataclass(options.result, result)
        raise
    write_dataclass(options.result, result)
    return 1 if result.reason else 0


def _do(path: str, result: JobResult) -> None:
    from cpcnn_core.evaluation.classical import ClassicalJob, measure_screen
    from cpcnn_core.io.dataclass_json import read_dataclass
    from cpcnn_core.screen.job import Job

    job = read_dataclass(path, Job, ClassicalJob)
    if isinstance(job, ClassicalJob):
        measure_screen(job, result)
    else:
        embed_job(job, result=result)


if __name__ == "__main__":
    run(main)
