"""`batchstack status`: what an output directory holds, as its ledger knows it."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from batchstack.batch.ledger import FOLDER, JOURNAL, Ledger, StackHistory
from batchstack.batch.scoring import worst_first
from batchstack.cli import options as shared
from batchstack.errors import ExitCode, OptionError


@click.command("status", cls=shared.GroupedCommand)
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@shared.option("--json", "as_json", group="Output", is_flag=True, help="One JSON object per stack.")
@shared.option(
    "--worst",
    group="Output",
    type=click.IntRange(1),
    metavar="N",
    help="Show only the N scored stacks of lowest quality and their scores, worst first.",
)
def command(directory: Path, as_json: bool, worst: int | None) -> None:
    """Show what DIRECTORY holds: finished methods, missing outputs, failed stacks.

    The exit code is 0 if every stack is whole, else 1.
    """
    if not (directory / FOLDER / JOURNAL).exists():
        raise OptionError(f"{directory}: no run has written here; give the -o of a run")
    stacks = {
        stack_id: _describe(directory / stack_id, history)
        for stack_id, history in Ledger(directory).stacks.items()
    }
    ranked = worst_first({name: data["scores"] for name, data in stacks.items()})[:worst]
    if worst and not ranked:
        raise OptionError(f"{directory}: no stack has scores; score them with run --score")
    if as_json:
        shown = [stack_id for stack_id, _ in ranked] if worst else stacks
        for stack_id in shown:
            click.echo(json.dumps({"id": stack_id, **stacks[stack_id]}))
    elif worst:
        _show_scores(stacks, ranked)
    else:
        _show(stacks)
    whole = all(not data["error"] and not data["missing"] for data in stacks.values())
    sys.exit(ExitCode.OK if whole else ExitCode.FAILED)


def _describe(folder: Path, history: StackHistory) -> dict[str, Any]:
    missing = [
        name
        for record in history.records.values()
        for name, size in record.outputs.items()
        if not _is_whole(folder / name, size)
    ]
    return {
        "methods": sorted(history.records),
        "missing": missing,
        "error": history.error,
        "scores": {
            name: scores
            for record in history.records.values()
            for name, scores in record.scores.items()
        },
        **history.facts,
    }


def _is_whole(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _show(stacks: dict[str, dict[str, Any]]) -> None:
    failed = {name: data for name, data in stacks.items() if data["error"]}
    missing = {name: data for name, data in stacks.items() if data["missing"]}
    click.echo(f"{len(stacks)} stacks: {len(stacks) - len(failed)} fused, {len(failed)} failed")
    methods = Counter(method for data in stacks.values() for method in data["methods"])
    for method, count in sorted(methods.items()):
        click.echo(f"  {method}: {count}")
    for name, data in stacks.items():
        for number, frame in enumerate(data.get("align", []), start=1):
            if "note" in frame:
                click.echo(f"{name}: frame {number}: {frame['note']}")
    for name, data in missing.items():
        click.echo(f"missing or shortened: {name}: {', '.join(data['missing'])}")
    for data in failed.values():
        click.echo(f"failed: {data['error']}")


def _show_scores(stacks: dict[str, dict[str, Any]], ranked: Sequence[tuple[str, str]]) -> None:
    """A table of stacks and their worst outputs."""
    rows = [(stack_id, output, stacks[stack_id]["scores"][output]) for stack_id, output in ranked]
    wide = max(len(stack_id) for stack_id, _ in ranked)
    measures = list(rows[0][2])
    click.echo(f"{'stack':{wide}}" + "".join(f"{name:>8}" for name in measures) + "  worst output")
    for stack_id, output, scores in rows:
        values = "".join(f"{scores[name]:8.4f}" for name in measures)
        click.echo(f"{stack_id:{wide}}{values}  {output}")
