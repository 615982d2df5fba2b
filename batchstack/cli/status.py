"""`batchstack status`: what an output directory holds, as its ledger knows it."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import click

from batchstack.batch.ledger import FOLDER, JOURNAL, Ledger, StackHistory
from batchstack.cli import options as shared
from batchstack.errors import ExitCode, OptionError


@click.command("status", cls=shared.GroupedCommand)
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@shared.option("--json", "as_json", group="Output", is_flag=True, help="One JSON object per stack.")
def command(directory: Path, as_json: bool) -> None:
    """Show what DIRECTORY holds: finished methods, missing outputs, failed stacks.

    The exit code is 0 if every stack is whole, else 1.
    """
    if not (directory / FOLDER / JOURNAL).exists():
        raise OptionError(f"{directory}: no run has written here; give the -o of a run")
    stacks = {
        stack_id: _describe(directory / stack_id, history)
        for stack_id, history in Ledger(directory).stacks.items()
    }
    if as_json:
        for stack_id, data in stacks.items():
            click.echo(json.dumps({"id": stack_id, **data}))
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
    for name, data in missing.items():
        click.echo(f"missing or shortened: {name}: {', '.join(data['missing'])}")
    for data in failed.values():
        click.echo(f"failed: {data['error']}")
