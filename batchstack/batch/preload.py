"""What the fork server imports and loads before it forks workers."""

import gc
import logging
import os
import sys
from contextlib import suppress
from functools import partial

# All that is imported stays: no use to look through it for garbage again and again.
gc.set_threshold(250_000)

try:
    import distributed  # noqa: F401
except Exception as error:
    # Such as a wrong configuration, which the client meets too and tells in a sentence; of what
    # is no ImportError the fork server prints the trace, and dies.
    raise ImportError from error

import batchstack.batch.tasks  # noqa: E402, F401
from batchstack.batch import steady_clock  # noqa: E402
from batchstack.batch.fork_server import KERNELS  # noqa: E402
from batchstack.batch.versions import versions  # noqa: E402
from batchstack.batch.warm import load  # noqa: E402

# What matters of a worker the client says, in one line.
logging.getLogger("distributed").setLevel(logging.CRITICAL)
steady_clock.use()
versions()

if os.environ.get(KERNELS):
    # What cannot be loaded here fails again in the task, and its message names the row.
    with suppress(Exception):
        load(os.environ[KERNELS].split(","), partial(print, file=sys.stderr, flush=True))
gc.freeze()
