"""What must hold after any fault: nothing lost, nothing mixed, nothing left behind."""

import json

RECORDS = ".batchstack"


class Oracle:
    """Holds a folder that a run was hurt in against one that a quiet run has made.

    Parameters
    ----------
    workspace : Workspace
    run : sequence of str
        Arguments of the command without those that name the output.
    quiet : str
        The folder of the quiet run.
    """

    def __init__(self, workspace, run, quiet="quiet"):
        self.workspace, self.arguments, self.quiet = workspace, run, quiet
        workspace.run(*run, "-o", quiet)
        self.expected = workspace.outputs(quiet)

    def judge(self, folder):
        """Look at a folder after a fault, complete it by a plain run, and look again.

        Returns
        -------
        int
            Stacks that were recorded before the plain run.
        """
        found = self.workspace.outputs(folder)
        for name, content in found.items():
            if not name.rpartition("/")[2].startswith("."):
                assert content == self.expected[name], f"{name} is not what a quiet run writes"
        recorded = self.recorded(folder)
        for stack in recorded:
            for name in self.expected:
                if _stack(name) == stack:
                    assert name in found, f"{name} is recorded, and is not there"
        said = self.workspace.run(*self.arguments, "-o", folder).stderr
        total = len(set(map(_stack, self.expected)))
        assert f"{total - len(recorded)} done, {len(recorded)} skipped, 0 failed" in said
        self.clean(folder)
        return len(recorded)

    def recorded(self, folder):
        """Stacks that the ledger holds as done with all that the quiet run made."""
        journal = self.workspace.root / folder / RECORDS / "journal.jsonl"
        done = {}
        for line in journal.read_bytes().splitlines() if journal.exists() else ():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if "methods" in entry:
                done.setdefault(entry["id"], set()).update(entry["methods"])
        return sorted(done)

    def clean(self, folder):
        """The folder is as a quiet run leaves it."""
        assert self.workspace.outputs(folder) == self.expected
        top = self.workspace.root / folder
        assert not (top / "failed.csv").exists()
        left = {path.name for path in (top / RECORDS).iterdir()} - {"report"}
        assert left == {"journal.jsonl", "lock"}, left


def _stack(name):
    """The stack of an output, in a folder of its own or in one that all share."""
    return name.rpartition("/")[0] or name.partition("_")[0]
