"""Run what the tutorials say, and write what the commands print into them."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TUTORIALS = Path(__file__).parent.parent / "docs" / "tutorials"
_BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What is said only if it takes long; and numbers, which another machine has otherwise.
_PROGRESS = re.compile(
    r"^(batchstack: )?(\d+ of \d+ stacks|no stack has finished for|waiting for workers"
    r"|compiling for this machine).*\n",
    re.MULTILINE,
)
_NUMBER = re.compile(r"\d+(\.\d+)?")


def run(text: str, folder: Path) -> str:
    """A document whose console blocks have what its commands print in a folder.

    Blocks with the name of a file after their language become that file.
    """
    background: list[subprocess.Popen[bytes]] = []

    def made(block: re.Match[str]) -> str:
        language, name, body = block.groups()
        if language == "console":
            commands = [line[2:] for line in body.splitlines() if line.startswith("$ ")]
            body = "".join(f"$ {line}\n{_printed(line, folder, background)}" for line in commands)
        elif name:
            (folder / name).write_text(body)
        return f"```{f'{language} {name}'.strip()}\n{body}```"

    try:
        return _BLOCK.sub(made, text)
    finally:
        for process in background:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def without_figures(text: str) -> str:
    """A document without what differs from machine to machine."""
    return re.sub(r" +", " ", _NUMBER.sub("N", text))


def _printed(command: str, folder: Path, background: list[subprocess.Popen[bytes]]) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path}
    if command.endswith("&"):
        command = f"exec {command.removesuffix('&')}"
        log = subprocess.DEVNULL
        background.append(
            subprocess.Popen(
                command,
                shell=True,
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        )
        deadline = time.monotonic() + 60
        while not (folder / "scheduler.json").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        return ""
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
    )
    if done.returncode:
        raise RuntimeError(f"{command} ended with {done.returncode}:\n{done.stdout}")
    return _PROGRESS.sub("", done.stdout).replace(str(folder.resolve()), "...")


def main() -> None:
    for path in sorted(TUTORIALS.glob("*.md")):
        with tempfile.TemporaryDirectory() as folder:
            path.write_text(run(path.read_text(), Path(folder)))


if __name__ == "__main__":
    main()
