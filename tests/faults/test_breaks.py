"""What was found by trying to break the program, each a way by which work or data was lost."""

import os
import shutil

import pytest

FUSE = ("fuse", "-o", "out", "--methods", "direct")
RUN = ("run", "pairs.csv", "--workers", 0, "--align", "off", "--methods", "direct")


@pytest.mark.parametrize("link", [False, True])
def test_a_frame_that_an_output_would_replace_is_refused_and_stays(workspace, link):
    """Of its own stack or of another; also when it is reached by another path."""
    back, front = workspace.stack("a")
    frame = workspace.root / "out" / "a" / "focus_stacked_direct.png"
    frame.parent.mkdir(parents=True)
    shutil.copy(workspace.root / back, frame)
    before = frame.read_bytes()
    given = "out/a/focus_stacked_direct.png"
    if link:
        (workspace.root / "link.png").symlink_to(frame)
        given = "link.png"
    workspace.manifest({"a": [given, front], "b": [front, given], "c": [back, front]})
    said = workspace.run(*RUN, "-o", "out", code=1).stderr
    assert f"pairs.csv:2 a: {workspace.root / given}: has the name of an output" in said
    assert f"pairs.csv:3 b: {workspace.root / given}: has the name of an output" in said
    assert "1 done, 0 skipped, 2 failed" in said
    assert frame.read_bytes() == before
    said = workspace.run("fuse", "-o", "out/a", "--methods", "direct", given, front, code=1).stderr
    assert "has the name of an output" in said
    assert frame.read_bytes() == before
    # Outputs of other runs are frames like any other.
    workspace.run("fuse", "-o", "other", "--methods", "direct", given, front)
