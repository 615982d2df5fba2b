"""What a run costs before it fuses: checking a long manifest, resuming a long run.

    python benchmarks/planning.py

The manifest has 100,000 rows whose frames are links to a few small files; the resumed run
has 10,000 finished stacks of one method, the journal that is checked and shown 100,000 of all
methods; their records and outputs are made from those of one stack.
Each figure is the time of a whole process, from the first import to its exit.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from batchstack.images import write_image
from batchstack.scenes import make_stack

FOLDERS = 100  # that the frames of the long manifest are spread over
LINKS = 10_000  # to one file
# In a small process, because the peak of a new one begins with the size of the one that starts it.
MEASURE = """
import resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.call(sys.argv[1:], stdout=sys.stderr)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(code, time.perf_counter() - start, usage.ru_maxrss)
"""


@click.command(help=__doc__.splitlines()[0])
@click.option("--rows", type=int, default=100_000, show_default=True)
@click.option("--finished", type=int, default=10_000, show_default=True)
@click.option("--ledger", type=int, default=100_000, show_default=True)
@click.option("--repeats", type=int, default=5, show_default=True)
def main(rows: int, finished: int, ledger: int, repeats: int) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        stack = make_stack((48, 64), scene="hair", blur=2.0)
        for side, frame in zip(("back", "front"), stack.frames, strict=True):
            write_image(folder / f"{side}.jpg", frame)
        write_manifest(folder, "long", rows)
        measure(f"check of {rows} rows", ["check", "long.csv"], folder, repeats)
        write_manifest(folder, "done", finished)
        simple = ["--align", "off", "--methods", "all_channels"]
        finish(folder, "done", finished, simple)
        resume = ["run", "done.csv", "-o", "done.out", *simple]
        measure(f"resume of {finished} finished stacks", resume, folder, repeats)
        write_manifest(folder, "recorded", ledger)
        finish(folder, "recorded", ledger, ["--methods", "all"])
        check = ["check", "recorded.csv", "-o", "recorded.out"]
        measure(f"check of {ledger} finished stacks", check, folder, repeats)
        measure(f"status of {ledger} finished stacks", ["status", "recorded.out"], folder, repeats)
        measure("--help", ["--help"], folder, repeats)
        fuse = ["fuse", "--back", "back.jpg", "--front", "front.jpg", "-o", "one"]
        measure("fuse of a tiny pair", fuse, folder, repeats)


def write_manifest(folder: Path, name: str, rows: int) -> None:
    lines = ["id,back,front"]
    for number in range(rows):
        place = f"{name}/{number % FOLDERS:02}"
        if number < FOLDERS:  # links to one file are limited
            (folder / place).mkdir(parents=True)
            for side in ("back", "front"):
                shutil.copy(folder / f"{side}.jpg", folder / place)
        paths = [f"{place}/{side}{number}.jpg" for side in ("back", "front")]
        for side, path in zip(("back", "front"), paths, strict=True):
            os.link(folder / place / f"{side}.jpg", folder / path)
        lines.append(f"p{number},{','.join(paths)}")
    (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")


def finish(folder: Path, name: str, count: int, options: list[str]) -> None:
    """Fuse the first stack, and make what it left behind also that of the others."""
    lines = (folder / f"{name}.csv").read_text().splitlines()
    (folder / "first.csv").write_text("\n".join(lines[:2]) + "\n")
    out = folder / f"{name}.out"
    batchstack(["run", "first.csv", "-o", out.name, "--workers", "0", *options], folder)
    journal = out / ".batchstack" / "journal.jsonl"
    entries = [json.loads(line) for line in journal.read_text().splitlines()]
    (record,) = (entry for entry in entries if "methods" in entry)
    with journal.open("w") as file:
        for number, line in enumerate(lines[1:]):
            stack, *frames = line.split(",")
            paths = [folder.resolve() / frame for frame in frames]
            inputs = [
                [str(path), size, path.stat().st_mtime_ns, digest]
                for path, (_, size, _, digest) in zip(paths, record["inputs"], strict=True)
            ]
            line = json.dumps(record | {"id": stack, "inputs": inputs}, separators=(",", ":"))
            file.write(line + "\n")
            if number:
                link_files(out / "p0", out / stack)


def link_files(source: Path, target: Path) -> None:
    """Have the files of a folder in another too.

    File systems limit the links to one file, so a copy of it takes its place now and then.
    """
    target.mkdir(parents=True)
    for path in source.iterdir():
        if path.stat().st_nlink > LINKS:
            fresh = shutil.copy2(path, f"{path}.fresh")
            Path(fresh).replace(path)
        os.link(path, target / path.name)


def measure(title: str, arguments: list[str], folder: Path, repeats: int) -> None:
    results = [batchstack(arguments, folder) for _ in range(repeats)]
    seconds = statistics.median(seconds for seconds, _ in results)
    peak = max(peak for _, peak in results)
    click.echo(f"{title:34} {seconds:6.2f} s, {peak / 2**20:4.0f} MiB at most")


def batchstack(arguments: list[str], folder: Path) -> tuple[float, int]:
    """Seconds and peak memory, in bytes, of the command line."""
    command = [sys.executable, "-m", "batchstack", *arguments]
    with (folder / "said").open("w") as said:
        measured = subprocess.run(
            [sys.executable, "-c", MEASURE, *command],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        )
    code, seconds, peak = measured.stdout.split()
    if int(code):
        raise click.ClickException((folder / "said").read_text()[-1000:])
    return float(seconds), int(peak) * 1024


if __name__ == "__main__":
    main()
