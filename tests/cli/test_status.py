"""What an output directory holds, as `status` and `check` tell it."""

import json

from batchstack.batch.claim import FOLDER
from batchstack.batch.jobs import Input
from batchstack.batch.ledger import JOURNAL, Ledger
from batchstack.batch.records import Record
from batchstack.images import Written

INPUTS = (Input("a", 1, 2, "d"),)
METHOD = Record({}, INPUTS, {"a.png": Written(3, "f00d")})


def with_outputs(workspace, *stacks):
    for stack in stacks:
        path = workspace.root / "out" / stack / "a.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"abc")
    return Ledger(workspace.root / "out")


def test_status_counts_stacks_and_names_what_is_amiss(workspace):
    with with_outputs(workspace, "good", "shortened") as ledger:
        align = [{"model": "identity"}, {"model": "identity", "note": "too dark to align"}]
        ledger.append_done("good", {"direct": METHOD, "guided": METHOD}, {"align": align})
        assert workspace.run("status", "out").stdout.splitlines() == [
            "1 stack: 1 fused, 0 failed",
            "  direct: 1",
            "  guided: 1",
            "good: frame 2 of 2 keeps its neighbour's place: too dark to align",
        ]
        ledger.append_done("shortened", {"direct": METHOD})
        ledger.append_done("gone", {"direct": METHOD})
        ledger.append_failed("bad", "m.csv:3 bad: a.png: is damaged")
    (workspace.root / "out/shortened/a.png").write_bytes(b"ab")
    assert workspace.run("status", "out", code=1).stdout.splitlines() == [
        "4 stacks: 3 fused, 1 failed",
        "  direct: 3",
        "  guided: 1",
        "good: frame 2 of 2 keeps its neighbour's place: too dark to align",
        "missing or shortened: shortened: a.png",
        "missing or shortened: gone: a.png",
        "failed: m.csv:3 bad: a.png: is damaged",
    ]
    stacks = map(json.loads, workspace.run("status", "out", "--json", code=1).stdout.splitlines())
    assert {stack["id"]: (stack["missing"], stack["error"]) for stack in stacks} == {
        "good": ([], None),
        "shortened": (["a.png"], None),
        "gone": (["a.png"], None),
        "bad": ([], "m.csv:3 bad: a.png: is damaged"),
    }


def test_the_worst_are_shown_though_others_have_no_scores(workspace):
    with with_outputs(workspace, *"abcd") as ledger:
        for stack, quality in zip("abc", (0.5, 0.25, 0.75), strict=True):
            scored = Record({}, INPUTS, METHOD.outputs, {"a": {"Qabf": quality, "NMI": 1.0}})
            ledger.append_done(stack, {"direct": scored})
        ledger.append_done("d", {"direct": METHOD})
    table = workspace.run("status", "out", "--worst", 2).stdout
    assert [line.split()[:2] for line in table.splitlines()[1:]] == [
        ["b", "0.2500"],
        ["a", "0.5000"],
    ]
    shown = workspace.run("status", "out", "--worst", 2, "--json").stdout.splitlines()
    assert [json.loads(stack)["id"] for stack in shown] == ["b", "a"]


def test_the_worst_are_those_of_the_worst_recommended_outputs(workspace):
    bayesian, direct = "focus_stacked_bayesian", "focus_stacked_direct"

    def scored(quality, measure="Qsharp", **more):
        return {measure: quality, **more}

    stacks = {
        # A poor method beside a good one that is recommended does not make a stack poor.
        "good": {direct: scored(0.1), bayesian: scored(0.9, Artefacts=0.0)},
        "poor": {direct: scored(0.95), bayesian: scored(0.7, Artefacts=2.5)},
        "other": {direct: scored(0.8)},
        # Of an older version: its figures cannot be compared with the others, and come last.
        "old": {direct: scored(0.2, "Qabf", NMI=1.0)},
        "older": {direct: scored(0.9, "Qabf"), bayesian: scored(0.1, "Qabf")},
    }
    with with_outputs(workspace, *stacks) as ledger:
        for stack, scores in stacks.items():
            ledger.append_done(stack, {"direct": Record({}, INPUTS, METHOD.outputs, scores)})
    lines = workspace.run("status", "out", "--worst", 9).stdout.splitlines()
    assert lines[0].split() == ["stack", "Qsharp", "Artefacts", "Qabf", "NMI", "output"]
    assert [line.split() for line in lines[1:]] == [
        ["poor", "0.7000", "2.5000", "-", "-", bayesian],
        ["other", "0.8000", "-", "-", "-", direct],
        ["good", "0.9000", "0.0000", "-", "-", bayesian],
        ["older", "-", "-", "0.1000", "-", bayesian],
        ["old", "-", "-", "0.2000", "1.0000", direct],
    ]
    assert len({len(line[: line.index("focus")]) for line in lines[1:]}) == 1


def test_damaged_lines_are_told_without_a_traceback(workspace):
    with with_outputs(workspace, "good") as ledger:
        scored = Record({}, INPUTS, METHOD.outputs, {"a": {"Qabf": 0.5}})
        ledger.append_done("good", {"direct": scored}, {"align": 5, "id": "other", "error": [1]})
    with (workspace.root / "out" / FOLDER / JOURNAL).open("ab") as file:
        strange = {"id": "strange", "inputs": [], "facts": {"align": [7, {"note": None}]}}
        outputs = {"b.png": 1, "c\ud800.png": 2}
        strange["methods"] = {
            "\ud800": {"key": {}, "outputs": outputs, "scores": {"b": {"NMI": 1}}}
        }
        file.write(json.dumps(strange).encode() + b'\n{"id":"torn","inp\n' + bytes(4096))
    said = workspace.run("status", "out", code=1).stdout
    assert said.splitlines()[0] == "2 stacks: 2 fused, 0 failed"
    assert "missing or shortened: strange: b.png, c?.png" in said
    good, _ = map(json.loads, workspace.run("status", "out", "--json", code=1).stdout.splitlines())
    assert (good["id"], good["error"], good["align"]) == ("good", None, 5)
    assert "good" in workspace.run("status", "out", "--worst", 9, code=1).stdout


def test_a_journal_that_is_a_folder_is_one_sentence(workspace):
    workspace.manifest({"s": workspace.stack("s")})
    (workspace.root / "out" / FOLDER / JOURNAL).mkdir(parents=True)
    for command in (
        ("status", "out"),
        ("verify", "out"),
        ("check", "pairs.csv", "-o", "out"),
        ("run", "pairs.csv", "-o", "out", "--workers", 0),
    ):
        said = workspace.run(*command, code=2 if command[0] == "run" else 1)
        (line,) = said.stderr.splitlines()
        assert f"{FOLDER}/{JOURNAL}: cannot be read: Is a directory" in line
        assert said.stdout == ""


def test_a_failure_is_recorded_with_its_row(workspace):
    frames = workspace.stack("s")
    (workspace.root / frames[1]).write_bytes(b"no image")
    workspace.manifest({"s": frames}, columns=[("beta", ["0.5"]), ("meta_eye", ["left"])])
    workspace.run("run", "pairs.csv", "-o", "out", "--workers", 0, code=1)
    ((stack_id, error, row),) = Ledger(workspace.root / "out").failed()
    assert stack_id == "s"
    assert "no image" in error
    back, front = (str(workspace.root / frame) for frame in frames)
    asked = {"id": "s", "back": back, "front": front, "beta": "0.5", "meta_eye": "left"}
    assert row == asked | {"meta_broken": front}
