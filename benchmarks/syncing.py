"""What it costs that outputs and records are on the disk before they count.

    python benchmarks/syncing.py --pairs 200 --megapixels 0.27

Runs of the same pairs with and without waiting for the disk, in turn; the ratio is of each two
that follow one another.
"""

import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from throughput import ORIGINAL, write_pairs

# The workers are forked from a server that imports this as well.
NO_SYNC = """
from batchstack.files import System
System.sync = lambda self, file: None
System.sync_folder = lambda self, path: None
"""


@click.command(help=__doc__.splitlines()[0])
@click.option("--pairs", type=int, default=200, show_default=True)
@click.option("--megapixels", type=float, default=0.27, show_default=True)
@click.option("--methods", default=ORIGINAL, show_default=True)
@click.option("--workers", type=int, default=2, show_default=True)
@click.option("--repeats", type=int, default=5, show_default=True)
def main(pairs: int, megapixels: float, methods: str, workers: int, repeats: int) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_pairs(folder, pairs, megapixels, deep=False)
        (folder / "no_sync").mkdir()
        (folder / "no_sync" / "sitecustomize.py").write_text(NO_SYNC)
        options = ["--methods", methods, "--align", "off", "--workers", str(workers)]
        ratios = []
        for number in range(repeats + 1):
            synced = seconds(folder, options, {})
            unsynced = seconds(folder, options, {"PYTHONPATH": str(folder / "no_sync")})
            if number:  # the first two load what the others find loaded
                ratios.append(synced / unsynced)
                click.echo(f"synced {synced:.2f} s, not {unsynced:.2f} s, ratio {ratios[-1]:.3f}")
        click.echo(f"median {100 * (statistics.median(ratios) - 1):+.1f} %")


def seconds(folder: Path, options: list[str], variables: dict[str, str]) -> float:
    command = [sys.executable, "-m", "batchstack", "run", "pairs.csv", "-o", "out", *options]
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=os.environ | variables, check=True, capture_output=True)
    taken = time.perf_counter() - start
    shutil.rmtree(folder / "out")
    return taken


if __name__ == "__main__":
    main()
