"""Runs one phase in a process of its own.

Of its own, so that no descriptor or working directory keeps a mount busy afterwards, and so that a phase
that hangs can be ended. Forked, because starting Python anew takes longer than a short phase.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import time
import traceback
from multiprocessing.connection import Connection

from tools.bench.errors import BenchError
from tools.bench.job import Job, Timing
from tools.bench.workloads.phase import Phase

TIMEOUT_SECONDS = 3600


def in_worker(phase: Phase, job: Job) -> Timing:
    """Raises BenchError with what the worker died of."""
    context = multiprocessing.get_context("fork")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(phase, job, writer))
    process.start()
    writer.close()  # or the end of the worker would not be the end of the pipe
    try:
        if not reader.poll(TIMEOUT_SECONDS):
            raise BenchError(f"{phase.name} took more than {TIMEOUT_SECONDS} s")
        answer = reader.recv()
    except EOFError:
        raise BenchError(f"{phase.name}: its process died") from None
    finally:
        # By now it has answered, or there is nothing to wait for.
        process.kill()
        process.join()
        reader.close()
    if isinstance(answer, Timing):
        return answer
    raise BenchError(f"{phase.name}: {answer}")


def _work(phase: Phase, job: Job, answers: Connection) -> None:
    """In the child: answers with a Timing, or with the text of what went wrong."""
    # Ended by the bench, which gets the same Ctrl-C and kills it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        answers.send(_timed(phase, job))
    except (Exception, SystemExit) as error:  # noqa: BLE001  whatever it is, the bench is to report it
        answers.send("".join(traceback.format_exception_only(error)).strip())
    # No handlers, buffers or clean-ups of the bench's own.
    os._exit(0)


def _timed(phase: Phase, job: Job) -> Timing:
    if phase.is_warm:
        phase.prepare(job)()
    act = phase.prepare(job)
    gc.disable()
    begin = time.perf_counter()
    count = act()
    return Timing(time.perf_counter() - begin, count)
