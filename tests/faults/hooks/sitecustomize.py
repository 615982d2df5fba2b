"""Read by every Python process that a test starts with this folder on its PYTHONPATH.

Tasks stop where a test has shut a gate, so that a test knows what is under way when it hurts a
process; `hurt.py` in the folder of the test does to the program what else is to go wrong.
"""

import importlib.machinery
import os
import sys
import time
from collections import defaultdict
from pathlib import Path

ROOT = Path(os.environ["BATCHSTACK_WARD"])
LONGEST = 120  # seconds that a gate holds, should its test have died

_after = defaultdict(list)


def after(module):
    """Call a function with a module when it has been imported."""

    def register(function):
        _after[module].append(function)
        return function

    return register


def put(module, values):
    """Give constants of a module other values."""
    for name, value in values.items():
        getattr(module, name)  # there is such a constant
        setattr(module, name, value)


class _Finder:
    @staticmethod
    def find_spec(name, path, target=None):
        if name not in _after:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            for function in _after[name]:
                function(module)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _Finder)


# Stacks that this process has begun.
BEGUN = []


def say(gate):
    """Let the test know."""
    (ROOT / "reached" / f"{gate}.{os.getpid()}.{time.monotonic_ns()}").touch()


def hold(gate):
    """Say that a gate is reached; if it is shut now, wait until it is opened."""
    gate = gate.replace("/", "_")
    say(gate)
    is_shut = any((ROOT / "shut" / name).exists() for name in (gate, "all"))
    end = time.monotonic() + LONGEST
    while is_shut and time.monotonic() < end:
        if any((ROOT / "opened" / name).exists() for name in (gate, "all")):
            break
        time.sleep(0.02)


@after("batchstack.batch.tasks")
def _gates(tasks):
    """Gates at the start of each stack and each tile, and before an output gets its name."""
    fuse_stack, fuse_one_tile, write_image = (
        tasks._fuse_stack,
        tasks._fuse_one_tile,
        tasks.write_image,
    )

    def held_stack(job):
        BEGUN.append(job.id)
        hold(job.id)
        return fuse_stack(job)

    def held_tile(job, box, alignment):
        BEGUN.append(job.id)
        hold(job.id)
        hold(f"tile-{job.id}-{box.top}-{box.left}")
        try:
            fuse_one_tile(job, box, alignment)
        finally:
            say("tile-ended")

    def held_write(path, image, *, publish, finish, **options):
        def held_publish():
            # The stack is the folder, or what the name begins with.
            stack, is_flat, _ = path.name.partition("_focus")
            hold(f"publish-{stack if is_flat else path.parent.name}")
            publish()

        def told(step):
            try:
                step()
            finally:
                say("written")

        return write_image(
            path,
            image,
            publish=held_publish,
            finish=lambda step: finish(lambda: told(step)),
            **options,
        )

    tasks._fuse_stack, tasks._fuse_one_tile = held_stack, held_tile
    tasks.write_image = held_write


@after("batchstack.fusion.engine")
def _gate_of_boxes(engine):
    """A gate before each box of a stack that is fused or surveyed, but not of warming up."""
    run = engine._run

    def held_run(*arguments):
        if BEGUN:
            hold("box-")
        run(*arguments)

    engine._run = held_run


exec((ROOT / "hurt.py").read_text())
