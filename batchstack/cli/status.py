"""`batchstack status`: what an output directory holds, as its ledger knows it."""

import heapq
import json
import sys
from collections import Counter, deque
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

import click

from batchstack.batch.ledger import existing_ledger
from batchstack.batch.placement import warnings
from batchstack.batch.records import StackHistory
from batchstack.batch.scoring import figure
from batchstack.cli import options as shared
from batchstack.cli.following import follow
from batchstack.errors import ExitCode, OptionError


@click.command("status", cls=shared.GroupedCommand)
@click.argument("directory", type=shared.present_folder_path)
@shared.option("--json", "as_json", group="Output", is_flag=True, help="One JSON object per stack.")
@shared.option(
    "--worst",
    group="Output",
    type=click.IntRange(1),
    metavar="N",
    help="Show only the N scored stacks of lowest quality and their scores, worst first, by the "
    "recommended output.",
)
@shared.option(
    "--watch",
    group="Watch",
    is_flag=True,
    help="Follow the run that goes on until it ends, from this or another host; it is not "
    "disturbed, and Ctrl-C ends the watching alone.",
)
def command(directory: Path, as_json: bool, worst: int | None, watch: bool) -> None:
    """Show what DIRECTORY holds: finished methods, missing outputs, failed stacks.

    The exit code is 0 if every stack is whole, else 1; with --watch it is 1 if stacks of the run
    failed.
    """
    if watch:
        if as_json or worst:
            raise OptionError("--watch goes without --json and --worst; give the one or the other")
        sys.exit(follow(directory))
    overview = _Overview()
    with existing_ledger(directory) as ledger:
        stacks = (overview.count(_describe(directory, *stack)) for stack in ledger)
        if worst:
            _show_worst(directory, stacks, worst, as_json=as_json)
        elif as_json:
            for stack in stacks:
                click.echo(json.dumps(stack))
        else:
            deque(stacks, maxlen=0)
            overview.show()
    sys.exit(ExitCode.OK if overview.is_whole else ExitCode.FAILED)


def _describe(directory: Path, stack_id: str, history: StackHistory) -> dict[str, Any]:
    records = history.records.values()
    known: dict[str, Any] = {
        "id": stack_id,
        "methods": sorted(history.records),
        "missing": history.missing(directory, stack_id),
        "error": history.error,
        "scores": {name: scores for record in records for name, scores in record.scores.items()},
    }
    return known | history.facts | known


class _Overview:
    """What there is to say of all stacks together, and of those that are not as they should be."""

    def __init__(self) -> None:
        self._stacks = 0
        self._methods: Counter[str] = Counter()
        self._notes: list[str] = []
        self._cropped: list[tuple[float, str]] = []
        self._widest: Counter[str] = Counter()
        self._missing: list[str] = []
        self._failed: list[str] = []

    @property
    def is_whole(self) -> bool:
        return not self._missing and not self._failed

    def count(self, stack: dict[str, Any]) -> dict[str, Any]:
        """Take a stack in and give it on."""
        self._stacks += 1
        self._methods.update(stack["methods"])
        self._notes += [f"{stack['id']}: {said}" for said in warnings(stack)]
        if isinstance(cropped := stack.get("cropped"), int | float):
            self._cropped.append((cropped, stack["id"]))
            self._widest[str(stack.get("widest", ""))] += 1
        if stack["missing"]:
            self._missing.append(f"{stack['id']}: {', '.join(stack['missing'])}")
        if stack["error"] is not None:
            self._failed.append(stack["error"])
        return stack

    def show(self) -> None:
        failed = len(self._failed)
        stacks = "1 stack" if self._stacks == 1 else f"{self._stacks} stacks"
        click.echo(f"{stacks}: {self._stacks - failed} fused, {failed} failed")
        for method, count in sorted(self._methods.items()):
            click.echo(f"  {method}: {count}")
        if self._cropped:
            click.echo(self._cost_of_crops())
        for note in self._notes:
            click.echo(note)
        for missing in self._missing:
            click.echo(f"missing or shortened: {missing}")
        for error in self._failed:
            click.echo(f"failed: {error}")

    def _cost_of_crops(self) -> str:
        shares = [share for share, _ in self._cropped]
        most, named = max(self._cropped)
        end, count = max(self._widest.items(), key=lambda item: item[1])
        widest = f"; the {end} frame shows most of the scene in {count} of them" if end else ""
        return (
            f"cropped: {len(shares)} stacks, by {median(shares):.1f} % of the picture in the "
            f"median, {most:.1f} % at most ({named}){widest}"
        )


def _show_worst(
    directory: Path, stacks: Iterable[dict[str, Any]], count: int, *, as_json: bool
) -> None:
    """The stacks of lowest quality, as a table of the outputs that tell it unless as JSON."""
    ranked = heapq.nsmallest(
        count,
        (
            (quality, stack["id"], stack)
            for stack in stacks
            if (quality := figure(stack["scores"])) is not None
        ),
    )
    if not ranked:
        raise OptionError(f"{directory}: no stack has scores; score them with run --score")
    if as_json:
        for *_, stack in ranked:
            click.echo(json.dumps(stack))
        return
    rows = [(stack_id, own.output, stack["scores"][own.output]) for own, stack_id, stack in ranked]
    wide = max(len(stack_id) for stack_id, _, _ in rows)
    measures = list(dict.fromkeys(name for _, _, scores in rows for name in scores))
    heads = {name: f"{name:>{max(8, len(name) + 2)}}" for name in measures}
    click.echo(f"{'stack':{wide}}{''.join(heads.values())}  output")
    for stack_id, output, scores in rows:
        values = "".join(_cell(scores.get(name), len(head)) for name, head in heads.items())
        click.echo(f"{stack_id:{wide}}{values}  {output}")


def _cell(value: float | None, wide: int) -> str:
    return f"{'-' if value is None else format(value, '.4f'):>{wide}}"
