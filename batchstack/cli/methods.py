"""`batchstack methods`: what there is to choose from."""

import json

import click

from batchstack.cli import options as shared


@click.command("methods", cls=shared.GroupedCommand)
@shared.option("--json", "as_json", group="Output", is_flag=True, help="One JSON object each.")
def command(as_json: bool) -> None:
    """List the fusion methods and the files they write."""
    from batchstack.fusion.methods import METHODS

    for method in METHODS.values():
        if as_json:
            data = {
                "name": method.name,
                "title": method.title,
                "outputs": list(method.outputs),
                "options": list(method.uses),
            }
            click.echo(json.dumps(data))
        else:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in method.uses)
            click.echo(f"{method.name}: {method.title}")
            click.echo(f"    writes   {', '.join(method.outputs)}")
            click.echo(f"    options  {options}")
