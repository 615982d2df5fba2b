"""Write docs/cli.md and the table of options in docs/manifest.md; a test holds them true."""

from pathlib import Path

import click

from batchstack.cli.main import COMMANDS, cli
from batchstack.fusion.methods import METHODS
from batchstack.options import Option, RunOptions, declared

DOCS = Path(__file__).parent.parent / "docs"
COMMAND_LINE, MANIFEST = DOCS / "cli.md", DOCS / "manifest.md"
WIDTH = 96
START = "<!-- options: written by scripts/write_reference.py -->\n"
END = "<!-- end of options -->\n"


def commands() -> str:
    """The help of every command as Markdown."""
    sections = ["# Command line\n\nWritten by `scripts/write_reference.py` from the help.\n"]
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


def manifest(text: str) -> str:
    """The description of manifests with the options as they are declared now."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return before + START + columns() + END + after


def columns() -> str:
    """The options that rows may have, as a table."""
    known = [one for one in declared(RunOptions).values() if one.column]
    head = "| column | what it is | value | default | methods |\n|---|---|---|---|---|\n"
    return head + "".join(map(_line, known))


def _line(known: Option) -> str:
    users = [f"`{method.name}`" for method in METHODS.values() if known.name in method.uses]
    methods = "all" if len(users) in (0, len(METHODS)) else ", ".join(users)
    default = known.shown or str(known.default).lower()
    return f"| `{known.name}` | {known.help} | {known.kind.wanted} | {default} | {methods} |\n"


if __name__ == "__main__":
    COMMAND_LINE.write_text(commands())
    MANIFEST.write_text(manifest(MANIFEST.read_text()))
