"""Names of frames that are spelled otherwise in the manifest than on the disk."""

import re
import unicodedata

import numpy as np
import pytest
import tifffile

from batchstack.batch.manifest import load_manifest
from batchstack.errors import ManifestError


@pytest.fixture
def load(tmp_path):
    def loaded(names, cell, columns="frames"):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        (tmp_path / "m.csv").write_text(f"id,{columns}\ns,{cell}\n", encoding="utf-8")
        (row,) = load_manifest(tmp_path / "m.csv", known_methods=("direct",)).rows
        return [str(path.relative_to(tmp_path)) for path in row.frames]

    return loaded


def nfd(text):
    return unicodedata.normalize("NFD", text)


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (["img [1]/a.jpg", "img [1]/b.jpg"], "img [1]/*.jpg"),
        (["x[1]_a.jpg", "x[1]_b.jpg"], "x[1]_*.jpg"),
        (["A.JPG", "B.JPG"], "*.jpg"),
        (["IMG/a.JPG", "IMG/b.JPG"], "img/?.jpg"),
        ([nfd("Käfer/ä1.tif"), nfd("Käfer/ä2.tif")], "Käfer/ä*.tif"),
        (["Käfer/ä1.tif", "Käfer/ä2.tif"], nfd("Käfer/ä*.tif")),
        (["a.jpg", "b.jpg", "c.JPG"], "[ab].jpg"),
    ],
)
def test_a_pattern_matches_the_only_spelling_there_is(load, names, pattern):
    assert load(names, pattern) == names[:2]


@pytest.mark.parametrize(
    ("names", "cell"),
    [
        ([nfd("ä.tif"), nfd("ö.tif")], "ä.tif,ö.tif"),
        (["BACK.TIF", "front.tif"], "back.tif,front.tif"),
        (["Img/back.tif", "front.tif"], "img/Back.tif,front.tif"),
    ],
)
def test_so_does_a_name(load, names, cell):
    assert load(names, cell, "back,front") == names


def test_endings_in_two_cases_are_refused_with_patterns_for_either(load):
    names = ["a.jpg", "b.jpg", "c.JPG", "d.JPEG"]
    with pytest.raises(ManifestError, match=r"1 more would, such as 'c\.JPG'") as caught:
        load(names, "*.jpg")
    every, given = re.findall(r"'(\*\.\[.*?)'", str(caught.value))
    assert load(names, every) == names[:3]
    assert load(names, given) == names[:2]
    assert load(names, "[a-d].*") == names
    assert load([*names, "e.JPG"], "[c-e].JPG") == ["c.JPG", "e.JPG"]


@pytest.mark.parametrize(
    ("names", "cell", "told"),
    [
        (["IMG/a.jpg", "Img/b.jpg"], "img/*.jpg", "2 would, such as 'IMG/a.jpg' and 'Img/b.jpg'"),
        (["a.JPG", "b.Jpg"], "*.jpg", "in another spelling 2 would"),
        (["a.jpg", "b.JPG", "c.JPG"], "*.jpg", "only one file, 'a.jpg', matches '*.jpg'"),
        (["a.jpg", "b.JPG", "c.JPG"], "*.jpg", "2 would, such as 'b.JPG' and 'c.JPG'"),
        (["i[1]/a.jpg", "i1/a.jpg"], "i[1]/*.jpg", r"write 'i[[]1]' for the name"),
        (["A.jpg", "a.JPG", "b.jpg"], "a.jpg|b.jpg", "there are 'A.jpg' and 'a.JPG'"),
    ],
)
def test_more_spellings_than_one_are_told(load, names, cell, told):
    with pytest.raises(ManifestError) as caught:
        load(names, cell)
    assert told in str(caught.value)


@pytest.mark.parametrize("cell", ["z.tif", "*.tif"])
def test_a_page_stack_alone_is_told(load, tmp_path, cell):
    tifffile.imwrite(tmp_path / "z.tif", np.zeros((7, 8, 9), np.uint8), photometric="minisblack")
    with pytest.raises(ManifestError, match=r"holds 7 pages.*split it, e\.g\. python"):
        load([], cell)
