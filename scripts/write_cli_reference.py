"""Write docs/cli.md from the commands' own help; a test holds it true."""

from pathlib import Path

import click

from batchstack.cli.main import COMMANDS, cli

TARGET = Path(__file__).parent.parent / "docs" / "cli.md"
WIDTH = 96


def reference() -> str:
    """The help of every command as Markdown."""
    sections = ["# Command line\n\nWritten by `scripts/write_cli_reference.py` from the help.\n"]
    settings = cli.context_settings
    with click.Context(cli, info_name="batchstack", terminal_width=WIDTH, **settings) as parent:
        sections.append(_section("batchstack", cli.get_help(parent)))
        for name in COMMANDS:
            command = cli.get_command(parent, name)
            assert command is not None
            with click.Context(
                command, info_name=name, parent=parent, terminal_width=WIDTH
            ) as context:
                sections.append(_section(f"batchstack {name}", command.get_help(context)))
    return "\n".join(sections)


def _section(title: str, text: str) -> str:
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return f"## {title}\n\n```\n{lines}\n```\n"


if __name__ == "__main__":
    TARGET.write_text(reference())
