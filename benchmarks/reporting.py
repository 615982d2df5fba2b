"""What the report of a long run costs, and how soon a browser shows it.

    python -m benchmarks.reporting

5,000 finished stacks of all methods; their records, frames, outputs and previews are those of
one stack, as its workers have left them.
A report is written at the end of their run, anew when nothing has changed, and when each stack
was fused so often that the journal has 100,000 lines.
Each figure is the time of a whole process, from the first import to its exit; that of the first
paint is what headless Chromium says from the start of loading to the first text or picture.
"""

import shutil
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from batchstack.batch.previews import Kept, folder_name, keep, kept_in, report_folder
from batchstack.images import write_image
from batchstack.scenes import make_stack
from benchmarks.planning import finish, link_files, measure, write_manifest
from tests import browser


@click.command(help=__doc__.splitlines()[0])
@click.option("--stacks", type=int, default=5000, show_default=True)
@click.option("--lines", type=int, default=100_000, show_default=True, help="Of the journal.")
@click.option("--repeats", type=int, default=3, show_default=True)
def main(stacks: int, lines: int, repeats: int) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        frames = make_stack((800, 1200), scene="hair", blur=4.0).frames
        for side, frame in zip(("back", "front"), frames, strict=True):
            write_image(folder / f"{side}.jpg", frame)
        write_manifest(folder, "night", stacks)
        finish(folder, "night", stacks, ["--methods", "all"])
        out = folder / "night.out"
        report = ["report", out.name]
        keep_previews(out, folder / "previews")
        for _ in range(repeats):
            leave_previews(out, folder / "previews", stacks)
            measure(f"report of {stacks} stacks", report, folder, 1)
        measure("again, nothing has changed", report, folder, repeats)
        print_size(out)
        print_paints(out / "report.html", folder, repeats)
        journal = out / ".batchstack" / "journal.jsonl"
        journal.write_text(journal.read_text() * (lines // stacks))
        measure(f"journal of {lines} lines", report, folder, 1)
        measure("again, nothing has changed", report, folder, repeats)


def keep_previews(out: Path, kept: Path) -> None:
    """Put aside what the workers have left of the first stack."""
    shutil.copytree(report_folder(out) / folder_name("p0"), kept)
    (kept / "index.html").unlink()
    keep(kept, Kept(kept_in(kept).previews))


def leave_previews(out: Path, kept: Path, stacks: int) -> None:
    """Have no report yet, but the previews of all stacks."""
    shutil.rmtree(report_folder(out))
    for number in range(stacks):
        link_files(kept, report_folder(out) / folder_name(f"p{number}"))


def print_size(out: Path) -> None:
    pages = [path.stat().st_size for path in report_folder(out).glob("*/index.html")]
    click.echo(f"{len(pages)} pages of {statistics.mean(pages) / 1e3:.0f} kB")


def print_paints(page: Path, folder: Path, repeats: int) -> None:
    if browser.program() is None:
        click.echo("no Chromium is installed")
        return
    seconds = [first_paint(page, folder / f"profile{number}") for number in range(repeats)]
    click.echo(f"first paint {', '.join(f'{one:.2f}' for one in seconds)} s")


def first_paint(page: Path, profile: Path) -> float:
    """Seconds until a new browser shows something of a page."""
    painted = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
    with browser.Browser(profile) as chromium:
        chromium.view()
        chromium.open(page.as_uri())
        chromium.wait(f"{painted} > 0")
        return float(chromium.do(painted)) / 1000


if __name__ == "__main__":
    main()
