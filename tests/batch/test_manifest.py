"""Manifests: four formats give one schema, and every problem is told with its place."""

import gc
import glob
import json
import os
import random
import re
import unicodedata
from itertools import product
from pathlib import Path

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from batchstack.batch.failed_list import FAILED
from batchstack.batch.manifest import (
    COLUMNS,
    OWN_NAMES,
    Report,
    Row,
    load_manifest,
    write_manifest,
)
from batchstack.batch.manifest_patterns import is_pattern, matching_files
from batchstack.errors import ExitCode, ManifestError
from batchstack.formats import FORMATS
from batchstack.fusion.methods import METHODS as ALL_METHODS

METHODS = ("by_channel", "all_channels", "direct")
FRAMES = ("back.tif", "front.tif", "img/f1.tif", "img/f2.tif", "img/f10.tif")


@pytest.fixture
def folder(tmp_path):
    """A folder with a few files; a manifest never opens them."""
    (tmp_path / "img").mkdir()
    for name in FRAMES:
        (tmp_path / name).touch()
    return tmp_path


def load(folder, text, name="pairs.csv"):
    path = folder / name
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(data)
    return load_manifest(path, known_methods=METHODS).rows


def problems(folder, text, name="pairs.csv"):
    with pytest.raises(ManifestError) as caught:
        load(folder, text, name)
    return str(caught.value).split("\n")


def problem(folder, text, name="pairs.csv"):
    (line,) = problems(folder, text, name)
    return line


# --- what is read


def test_a_pair(folder):
    (row,) = load(folder, "id,back,front\neye,back.tif,front.tif\n")
    assert row == Row("eye", (f"{folder}/back.tif", f"{folder}/front.tif"), "elsewhere")
    assert row.place == "pairs.csv:2"
    assert row.methods is None and row.options == () and row.meta == ()


def test_a_pattern_is_in_natural_order(folder):
    (row,) = load(folder, "id,frames\ns,img/*.tif\n")
    assert [path.name for path in row.frames] == ["f1.tif", "f2.tif", "f10.tif"]


def test_a_pattern_leaves_out_folders_and_hidden_files(folder):
    (folder / "img" / "sub").mkdir()
    (folder / "img" / ".hidden").touch()
    (row,) = load(folder, "id,frames\ns,img/*\n")
    assert len(row.frames) == 3


PARTS = ["*", "**", "d", "?", "[de]", "*.t", "x.t", ".h", ".*", "no"]


@given(
    start=st.sampled_from(["", "../base/", "./d/../", "no/../"]),
    parts=st.lists(st.sampled_from(PARTS), min_size=1, max_size=5),
)
@settings(max_examples=300)
def test_patterns_match_what_glob_matches(tmp_path_factory, start, parts):
    """Where there are no links."""
    pattern = start + "/".join(parts)
    assume(is_pattern(pattern))
    base = tmp_path_factory.getbasetemp() / "tree" / "base"
    for name in ("x.t", "d/x.t", "d/d/y.t", "d/e/x.t", "e/.h/x.t", ".h/x.t", "d/.t"):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).touch()
    expected = glob.glob(pattern, root_dir=base, recursive=True)  # noqa: PTH207
    # For glob, the file x.t matches x.t/** as "x.t/".
    expected = {name for name in expected if not (base / name).is_dir() and name[-1] != "/"}
    found = matching_files(base, pattern)
    assert {os.path.normpath(base / name) for name in found} == {
        os.path.normpath(base / name) for name in expected
    }


@pytest.mark.skipif(os.name == "nt", reason="needs links")
@pytest.mark.timeout(60)
def test_links_that_lead_in_circles_are_not_followed_for_ever(folder):
    for name in ("one", "two"):
        (folder / "img" / name).symlink_to(".")  # would lead to 2**40 places
    (row,) = load(folder, "id,frames\ns,img/**/f*.tif\n")
    assert [path.name for path in row.frames] == ["f1.tif", "f2.tif", "f10.tif"]
    line = problem(folder, f"id,frames\ns,img/{'*/' * 30}f*.tif\n")
    told = "the pattern leads to more than 100,000 places; name more of them"
    assert line == f"pairs.csv:2:2 frames: {told}"
    (folder / "link").symlink_to("img")
    (row,) = load(folder, "id,frames\ns,lin?/f*.tif\n")
    assert len(row.frames) == 3


@pytest.mark.skipif(os.name == "nt", reason="needs long paths")
def test_a_pattern_finds_what_lies_very_deep(folder, monkeypatch):
    monkeypatch.chdir(folder)
    deep = "d/" * 1200
    for end in range(2, len(deep) + 1, 2):
        Path(deep[:end]).mkdir()
    try:
        for name in ("x1.t", "x2.t"):
            Path(deep + name).touch()
        (row,) = load(folder, "id,frames\ns,**/x?.t\n")
        assert [str(path.relative_to(folder)) for path in row.frames] == [
            f"{deep}x1.t",
            f"{deep}x2.t",
        ]
    finally:  # what pytest removes, it removes by recursion
        for name in ("x1.t", "x2.t"):
            Path(deep + name).unlink(missing_ok=True)
        for end in range(len(deep), 0, -2):
            Path(deep[:end]).rmdir()


def test_a_list_keeps_its_order(folder):
    (row,) = load(folder, "id,frames\ns,img/f10.tif | back.tif|img/f1.tif\n")
    assert [path.name for path in row.frames] == ["f10.tif", "back.tif", "f1.tif"]


def test_a_list_may_be_very_long(folder):
    names = [f"img/{'long' * 20}{i}.tif" for i in range(2000)]
    for name in names:
        (folder / name).touch()
    (row,) = load(folder, f"id,frames\ns,{'|'.join(names)}\n")
    assert row.frames == tuple(folder / name for name in names)


def test_pairs_and_stacks_mix(folder):
    rows = load(folder, "id,back,front,frames\na,back.tif,front.tif,\nb,,,img/*\n")
    assert [len(row.frames) for row in rows] == [2, 3]


def test_paths_are_relative_to_the_manifest(folder, monkeypatch):
    monkeypatch.chdir("/")
    (row,) = load(folder / "img", "id,back,front\ns,../back.tif,f1.tif\n")
    assert all(path.is_absolute() and path.exists() for path in row.frames)
    assert row.frames[1] == folder / "img" / "f1.tif"


def test_home_is_expanded(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    text = "id,back,front,frames\na,~/back.tif,~/front.tif,\nb,,,~/img/*.tif\n"
    pair, stack = load(folder / "img", text)
    assert pair.frames == (folder / "back.tif", folder / "front.tif")
    assert stack.frames[0] == folder / "img" / "f1.tif"


def test_a_user_nobody_knows_is_part_of_the_name(folder):
    (folder / "~no such user").touch()
    (row,) = load(folder, "id,back,front\ns,back.tif,~no such user\n")
    assert row.frames[1].name == "~no such user"


def test_typed_options_and_meta(folder):
    (row,) = load(
        folder,
        "id,back,front,median-sizes,levels,beta,kernel,data_range,align,border,match-exposure,"
        "format,quality,resize,meta_site\n"
        's,back.tif,front.tif,"9, 5 3",3,0.2,5,4095,off,fill,no,png,80,Yes,Bern\n',
    )
    assert dict(row.options) == {
        "levels": 3,
        "beta": 0.2,
        "kernel": 5,
        "median_sizes": (9, 5, 3),
        "data_range": 4095.0,
        "align": "off",
        "border": "fill",
        "match_exposure": "off",
        "format": "png",
        "quality": 80,
        "resize": True,
    }
    assert row.meta == (("meta_site", "Bern"),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("direct", ("direct",)),
        ("direct|by_channel", ("direct", "by_channel")),
        ('"direct, by_channel"', ("direct", "by_channel")),
        ("direct|direct", ("direct",)),
        ("all", METHODS),
        ("", None),
    ],
)
def test_methods(folder, text, expected):
    (row,) = load(folder, f"id,back,front,methods\ns,back.tif,front.tif,{text}\n")
    assert row.methods == expected


RECORDS = [
    {"id": "007", "back": "back.tif", "front": "front.tif", "beta": "0.10", "meta_n": "1.10"},
    {"id": "set/2", "frames": "img/*.tif", "methods": "direct|by_channel", "median_sizes": "5 3"},
]


@pytest.mark.parametrize("name", ["m.tsv", "m.jsonl", "m.ndjson", "m.yaml", "m.yml"])
def test_every_format_gives_the_same_rows(folder, name):
    columns = list(dict.fromkeys(key for record in RECORDS for key in record))
    fields = [columns, *([record.get(key, "") for key in columns] for record in RECORDS)]
    expected = load(folder, "".join(",".join(line) + "\n" for line in fields))
    text = {
        ".tsv": "".join("\t".join(line) + "\r\n" for line in fields),
        ".yaml": yaml.safe_dump(RECORDS),
        ".yml": yaml.safe_dump({"stacks": RECORDS}),
    }.get(Path(name).suffix, "\n\n".join(json.dumps(record) for record in RECORDS))
    assert load(folder, text, name) == expected


def test_native_values_mean_what_their_text_means(folder):
    as_json = (
        '{"id": 7, "frames": ["back.tif", "front.tif"], "levels": 2, "beta": 0.10, '
        '"median-sizes": [5, 3], "methods": ["direct"], "resize": true, "quality": null, '
        '"meta_n": 1.10}'
    )
    as_yaml = (
        "- {id: 7, frames: [back.tif, front.tif], levels: 2, beta: 0.10,"
        " median_sizes: [5, 3], methods: [direct], resize: true, quality: null, meta_n: 1.10}"
    )
    (row,) = load(folder, as_json, "m.jsonl")
    assert load(folder, as_yaml, "m.yaml") == (row,)
    assert row.id == "7" and row.meta == (("meta_n", "1.10"),)
    assert dict(row.options) == {"levels": 2, "beta": 0.1, "median_sizes": (5, 3), "resize": True}


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffid,back,front\ns,back.tif,front.tif\n",
        "id,back,front\r\ns,back.tif,front.tif\r\n",
        "id;back;front\ns;back.tif;front.tif\n",
        "id\tback\tfront\ns\tback.tif\tfront.tif\n",
        '"id", "back", front \n "s", back.tif , front.tif \n',
        "\n\nid,back,front\n,,\ns,back.tif,front.tif\n\n",
    ],
    ids=["bom", "crlf", "semicolons", "tabs", "spaces", "blank lines"],
)
def test_what_spreadsheets_and_people_write(folder, text):
    (row,) = load(folder, text)
    assert row == Row("s", (f"{folder}/back.tif", f"{folder}/front.tif"), "")


# --- the reference for users

REFERENCE = Path(__file__).parents[2] / "docs" / "manifest.md"


def test_the_reference_has_every_column():
    table = re.findall(r"^\| (`.*?) \|", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE)
    documented = [name for cell in table for name in re.findall("`(.*?)`", cell)]
    assert sorted(documented) == sorted([*COLUMNS, "meta_*"])


def test_the_examples_of_the_reference_mean_the_same(tmp_path):
    text = REFERENCE.read_text(encoding="utf-8")
    for name in ("eye/back.jpg", "eye/front.jpg", "pcb/1.tif", "pcb/2.tif", "pcb/10.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    results = []
    for suffix in ("csv", "jsonl", "yaml"):
        (example,) = re.findall(f"```{suffix}\n(.*?)```", text, re.DOTALL)
        path = tmp_path / f"m.{suffix}"
        path.write_text(example)
        results.append(load_manifest(path, known_methods=("median_mask", "direct")).rows)
    assert len(results[0]) == 2
    assert results[0] == results[1] == results[2]


# --- what is refused, and where


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (",back.tif,front.tif,,,", "2:1 id: missing"),
        ("s,,front.tif,,,", "2:2 back: missing"),
        ("s,back.tif,,,,", "2:3 front: missing"),
        ("s,,,,,", "2:2 back: no frames"),
        ("s,img,front.tif,,,", "2:2 back: 'img' is a folder"),
        ("s,back.tif,img/../back.tif,,,", "2:3 front: 'img/../back.tif' is the same file"),
        ("s,back.tif,front.tif,img/*,,", "2:4 frames: give either"),
        ("s,,,back.tif,,", "2:4 frames: only one frame"),
        ("s,,,img/f2*,,", "2:4 frames: only one file"),
        ("s,,,no/*.tif,,", "2:4 frames: no file matches 'no/*.tif' (resolved to {}/no/*.tif)"),
        ("s,,,back.tif||front.tif,,", "2:4 frames: an empty place"),
        ("s,,,back.tif|back.tif,,", "2:4 frames: 'back.tif' is the same file"),
        ("s,back.tif,front.tif,,dirct,", "2:5 methods: unknown method 'dirct'; did you mean 'di"),
        ("s,back.tif,front.tif,,|,", "2:5 methods: names no method"),
        ("s,back.tif,front.tif,,,x", "2:6 levels: 'x' is not a whole number"),
        ("s,back.tif,front.tif,,,17", "2:6 levels: 17; give a whole number from 1 to 16"),
        ("s,back.tif,front.tif", "2:4 3 fields, but the header has 6"),
        ("s,back.tif,front.tif,,,,,", "2:7 8 fields, but the header has 6"),
    ],
)
def test_a_problem_in_a_row(folder, fields, expected):
    line = problem(folder, f"id,back,front,frames,methods,levels\n{fields}\n")
    assert line.startswith(f"pairs.csv:{expected.format(folder)}")


def test_a_missing_file_is_told_with_where_it_was_looked_for(folder):
    line = problem(folder, "id,back,front\ns,back.tif,img/x.tif\n")
    where = folder / "img" / "x.tif"
    assert line == f"pairs.csv:2:3 front: file not found: 'img/x.tif' (resolved to {where})"


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("beta", "0,5", "beta: '0,5' is not a number"),
        ("beta", "nan", "beta: nan"),
        ("beta", "0", "beta: 0.0"),
        ("kernel", "4", "kernel: 4"),
        ("kernel", "3.0", "kernel: '3.0' is not a whole number"),
        ("data-range", "inf", "data_range: inf"),
        ("median-sizes", "3 4", "median_sizes: 3,4; give odd numbers of pixels from 1 to 255"),
        ("median-sizes", "|", "median_sizes: no sizes"),
        ("align", "rigid", "align: 'rigid'; give one of off, auto"),
        ("border", "blur", "border: 'blur'; give one of crop, fill"),
        ("match-exposure", "2", "match_exposure: '2'; give one of auto, on, off"),
        ("format", "gif", "format: 'gif'"),
        ("quality", "101", "quality: 101"),
        ("resize", "maybe", "resize: 'maybe' is neither"),
    ],
)
def test_a_bad_option(folder, column, value, expected):
    line = problem(folder, f'id,back,front,{column}\ns,back.tif,front.tif,"{value}"\n')
    assert line.startswith(f"pairs.csv:2:4 {expected}")


def test_median_sizes_must_fit_the_levels_of_the_row(folder):
    text = "id,back,front,median_sizes,levels\ns,back.tif,front.tif,5 3,{}\n"
    assert problem(folder, text.format(3)).startswith("pairs.csv:2:4 median_sizes: median-sizes")
    assert len(load(folder, text.format(2))) == 1


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("id,bcak,front,back", ":1:2 unknown column 'bcak'; did you mean 'back'?"),
        ("Id,back,front,id", ":1:1 unknown column 'Id'; did you mean 'id'?"),
        ("id,back,front,", ":1:4 column without a name"),
        ("id,back,front,back", ":1:4 back: is there twice"),
        ("id,data-range,frames,data_range", ":1:4 data_range: is there twice"),
        ("meta_a,back,front,frames", ":1 no column 'id'"),
        ("id,back,meta_a,meta_b", ":1 no frames"),
    ],
)
def test_a_bad_header(folder, header, expected):
    assert problems(folder, f"{header}\na,b,c,d\n")[0].startswith(f"pairs.csv{expected}")


# Ten times ten times ... texts, and many times a stack of many keys.
LAUGHS = b"x0: &x0 [a, a, a, a, a, a, a, a, a, a]\n" + b"".join(
    f"x{i}: &x{i} [{','.join([f'*x{i - 1}'] * 10)}]\n".encode() for i in range(1, 9)
)
ROW_OF_ROWS = (
    b"- &r {" + b", ".join(f"meta_{i}: a".encode() for i in range(1000)) + b"}\n" + b"- *r\n" * 5000
)


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("m.csv", b"", "m.csv is empty"),
        ("m.yaml", b"\xef\xbb\xbf \n", "m.yaml is empty"),
        ("m.csv", b"id,back,front\n", "m.csv no rows"),
        ("m.yaml", b"# nothing\n", "m.yaml no rows"),
        ("m.yaml", b"stacks: []\n", "m.yaml no rows"),
        ("m.csv", b"id,back,front\ns,\xe9.tif,b\n", "m.csv:2 not UTF-8 text (byte 0xe9)"),
        ("m.csv", "id,back\n".encode("utf-16"), "m.csv:1 not UTF-8 text (byte 0xff)"),
        ("m.csv", b"id,back,front\n\ns,\0,b\n", "m.csv:3 not UTF-8 text (byte 0x00)"),
        ("m.csv", b'id,back,front\ns,"a\n\nb', "m.csv:2 broken quotes"),
        ("m.csv", b'id,back,front\ns,"a"b,c\n', "m.csv:2 broken quotes"),
        ("m.jsonl", b'\n{"id": }\n', "m.jsonl:2 not JSON: Expecting value at character 8"),
        ("m.jsonl", b"[1]\n", "m.jsonl:1 not a JSON object"),
        ("m.jsonl", b"[" * 100_000, "m.jsonl:1 not JSON: nested too deeply"),
        ("m.jsonl", b'{"id": 1, "id": 2}', "m.jsonl:1:2 id: is there twice"),
        ("m.jsonl", b'{"id": {"a": 1}}', "m.jsonl:1:1 id: neither a text nor a list"),
        ("m.jsonl", b'{"frames": ["a", ["b"]]}', "m.jsonl:1:1 frames: neither a text"),
        ("m.jsonl", b'{"id": "a\\u0000"}', "m.jsonl:1:1 id: holds a character"),
        ("m.jsonl", b'{"back": "\\ud800"}', "m.jsonl:1:1 back: holds a character"),
        ("m.yaml", b"- id: [\n", "m.yaml:2:1 not YAML"),
        ("m.yaml", b"- id: *x\n", "m.yaml:1:7 not YAML: found undefined alias"),
        ("m.yaml", b"- id: a\n--- \n- id: b\n", "m.yaml:2:1 not YAML"),
        ("m.yaml", b"- id: a\n- id: \x01\n", "m.yaml:2 not YAML: control characters"),
        ("m.yaml", b"stakcs: []\n", "m.yaml:1:1 unknown key 'stakcs'; did you mean 'stacks'?"),
        ("m.yaml", b"stacks: 3\n", "m.yaml:1:9 not a list"),
        ("m.yaml", b"text\n", "m.yaml:1:1 not a list"),
        ("m.yaml", b"- 3\n", "m.yaml:1:3 not a mapping"),
        ("m.yaml", b"- id: a\n  meta_x: {a: 1}\n", "m.yaml:2:11 meta_x: neither a text"),
        ("m.yaml", b"- id: a\n  meta_x: [1]\n  frames: a", "m.yaml:2:11 meta_x: give one value"),
        ("m.yaml", b"[" * 50_000, "m.yaml:1:201 nested too deeply"),
        ("m.yaml", b"{a: " * 50_000, "m.yaml:1:801 nested too deeply"),
        ("m.yaml", b"- " * 50_000, "m.yaml:1:401 nested too deeply"),
        ("m.yaml", LAUGHS, "m.yaml:6:42 aliases stand for too much"),
        ("m.yaml", ROW_OF_ROWS, "aliases stand for too much"),
        ("m.xlsx", b"PK", "unknown kind of manifest '.xlsx'"),
    ],
)
def test_a_file_that_is_no_manifest(folder, name, data, expected):
    assert expected in problems(folder, data, name)[0]


def test_a_manifest_that_is_not_there(folder):
    with pytest.raises(ManifestError, match=r"no\.csv: cannot be read: No such file"):
        load_manifest(folder / "no.csv", known_methods=METHODS)


@pytest.mark.timeout(60)
@pytest.mark.skipif(os.name == "nt", reason="needs POSIX files")
@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: path.mkdir(), "{}: is not a file; give the file"),
        (os.mkfifo, "{}: is not a file; give the file"),
        (lambda path: path.symlink_to("/dev/zero"), "{}: is not a file; give the file"),
        (lambda path: path.symlink_to(path), "{}: cannot be read: Too many levels"),
        (lambda path: path.touch(0), "{}: cannot be read: Permission denied"),
    ],
    ids=["folder", "pipe", "device", "circle", "forbidden"],
)
def test_what_cannot_be_read_as_a_manifest(folder, make, expected):
    path = folder / "m.csv"
    make(path)
    if path.is_file() and os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(ManifestError) as caught:
        load_manifest(path, known_methods=METHODS)
    assert str(caught.value).startswith(expected.format(path))
    assert "\n" not in str(caught.value)


def test_of_a_huge_file_no_more_is_read_than_shows_that_it_is_none(folder):
    path = folder / "m.csv"
    text = b"id,back,front\n" * 100_000  # more than is read at once
    path.write_bytes(text)
    try:
        os.truncate(path, 2**42)
    except OSError:
        pytest.skip("no such files here")
    with pytest.raises(ManifestError, match=r"m\.csv:100001 not UTF-8 text \(byte 0x00\)"):
        load_manifest(path, known_methods=METHODS)


@pytest.mark.skipif(os.name == "nt", reason="needs links")
def test_a_folder_that_cannot_be_read_refuses_the_row_of_the_pattern(folder, monkeypatch):
    (folder / "circle").symlink_to("circle")
    (folder / "img" / "closed").mkdir()
    scandir = os.scandir

    def guarded(path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    rows = ["img/**/f*", "img/*/f*", "circle/*", f"{'x' * 300}/*", f"img/*{'/*' * 3000}"]
    lines = problems(folder, "id,frames\n" + "".join(f"s{i},{p}\n" for i, p in enumerate(rows)))
    closed = f"{str(folder / 'img' / 'closed')!r} cannot be read: Permission denied"
    assert lines[0] == f"pairs.csv:2:2 frames: {closed}"
    assert lines[1] == f"pairs.csv:3:2 frames: {closed}"
    assert lines[2].startswith("pairs.csv:4:2 frames: ") and "Too many levels" in lines[2]
    assert lines[3].startswith("pairs.csv:5:2 frames: ") and "File name too long" in lines[3]
    assert lines[4].startswith("pairs.csv:6:2 frames: a pattern of more than 4096 characters")


@pytest.mark.skipif(os.name == "nt", reason="needs links")
@pytest.mark.parametrize("pattern", ["img/*", "im?/f0.tif", "**/f0.tif"])
def test_a_link_that_leads_nowhere_is_a_missing_frame(folder, pattern):
    (folder / "imp").mkdir()
    (folder / "imp" / "f0.tif").touch()
    (folder / "ims").mkdir()
    (folder / "ims" / "f0.tif").touch()
    (folder / "img" / "f0.tif").symlink_to("nowhere")
    line = problem(folder, f"id,frames\ns,{pattern}\n")
    assert line.startswith("pairs.csv:2:2 frames: file not found: 'img/f0.tif'")


def test_rows_may_share_values_by_aliases(folder):
    text = "- {id: first, frames: &f [img/f1.tif, img/f2.tif, img/f10.tif]}\n" + "".join(
        f"- {{id: s{i}, frames: *f}}\n" for i in range(2000)
    )
    assert {len(row.frames) for row in load(folder, text, "m.yaml")} == {3}


def test_places_in_yaml_are_those_of_the_value(folder):
    text = "stacks:\n- id: s\n  back: back.tif\n  front:   x.tif\n- {frames: img/*, id: ''}\n"
    first, second = problems(folder, text, "m.yaml")
    assert first.startswith("m.yaml:4:12 front: file not found")
    assert second.startswith("m.yaml:5:23 id: missing")


def test_places_in_json_lines_count_keys(folder):
    text = '{"id": "s", "front": "x.tif", "back": "back.tif"}\n{"frames": "img/*"}\n'
    first, second = problems(folder, text, "m.jsonl")
    assert first.startswith("m.jsonl:1:2 front: file not found")
    assert second.startswith("m.jsonl:2 id: missing")


def test_a_row_stands_where_it_starts(folder):
    text = 'id,back,front,meta_note\na,back.tif,front.tif,"two\nlines"\nb,back.tif,x.tif,\n'
    assert problem(folder, text).startswith("pairs.csv:4:3 front")


def test_all_problems_come_at_once_in_order(folder):
    text = "id,back,front,colour\na,x.tif,y.tif,\n,back.tif,front.tif,\na,back.tif,z.tif,\n"
    places = [line.split()[0] for line in problems(folder, text)]
    assert places == [f"pairs.csv:{p}" for p in ("1:4", "2:2", "2:3", "3:1", "4:1", "4:3")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.csv", ",".join(["id", "frames", *(f"levls{i}" for i in range(5000))])),
        ("m.csv", "id,frames,methods\n" + "".join(f"{i},img/*,dirct{i}\n" for i in range(5000))),
        (
            "m.jsonl",
            "".join(f'{{"levls{i}": 1, "id": {i}, "frames": "img/*"}}\n' for i in range(5000)),
        ),
        ("m.yaml", "".join(f"levls{i}: 1\n" for i in range(5000))),
    ],
    ids=["columns", "methods", "keys of JSON", "keys of YAML"],
)
def test_of_many_problems_the_first_hundred_are_told(folder, monkeypatch, name, text):
    asked = []
    monkeypatch.setattr("difflib.get_close_matches", lambda *args, **_: asked.append(args) or [])
    *told, last = problems(folder, text, name)
    assert last == "and 4,900 more problems"
    assert len(told) == 100
    assert told == sorted(told, key=lambda line: [*map(int, re.findall(r"\d+", line))])
    assert len(asked) == 100  # advice is worked out for what is told


def test_of_many_problems_those_of_the_first_places_are_told():
    places = [(line, column) for line in range(1, 31) for column in range(1, 6)]
    report, made = Report("m.csv"), []
    for line, column in random.Random(7).sample(places, len(places)):
        report.add(line, column, "wrong")
    for line in range(31, 1000):
        report.add(line, None, lambda: made.append("text") or "wrong")
    with pytest.raises(ManifestError) as caught:
        report.raise_if_any()
    told = [f"m.csv:{line}:{column} wrong" for line, column in places[:100]]
    assert str(caught.value).split("\n") == [*told, "and 1,019 more problems"]
    assert not made


def test_problems_of_known_rows_keep_their_order():
    report = Report()
    report.raise_if_any()
    for line in range(101):
        report.add_row(f"m.csv:{line}", "contradicts itself")
    with pytest.raises(ManifestError) as caught:
        report.raise_if_any()
    *told, last = str(caught.value).split("\n")
    assert told == [f"m.csv:{line} contradicts itself" for line in range(100)]
    assert last == "and 1 more problem"


def test_bad_rows_leave_nothing_in_memory(folder):
    """Errors that hold the place they were raised at would stay while no garbage is collected."""
    text = "id,back,front,frames,levels\n" + "s,no.tif,img,,x\n" * 500 + "s,,,n*,\n" * 500
    gc.collect()
    gc.disable()
    try:
        problems(folder, text)
        assert gc.collect() < 1000  # an error with its frames has ten objects and more
    finally:
        gc.enable()


def test_a_problem_is_short_whatever_the_value(folder):
    line = problem(folder, f"id,back,front\ns,back.tif,{'x' * 10_000}\n")
    assert line.startswith("pairs.csv:2:3 front: File name too long: 'xxx")
    assert len(line) < 2500


def test_many_unknown_methods_of_a_row_are_one_problem(folder):
    names = "|".join(f"method{i}" for i in range(1000))
    line = problem(folder, f"id,frames,methods\ns,img/*,{names}\n")
    assert "unknown method 'method2'" in line
    assert line.endswith("; and 997 more")


def test_a_problem_takes_one_line_whatever_the_name(folder):
    assert "'a\\n\\x1b[31m'" in problem(folder, 'id,back,front\ns,back.tif,"a\n\x1b[31m"\n')


def test_a_refused_manifest_starts_nothing(folder):
    with pytest.raises(ManifestError) as caught:
        load(folder, "id\n")
    assert caught.value.exit_code == ExitCode.REFUSED


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX file names")
def test_files_that_are_no_frames(folder):
    os.mkfifo(folder / "pipe")
    (folder / "alias.tif").symlink_to("back.tif")
    (folder / "gone.tif").symlink_to("nowhere")
    text = "id,back,front\na,back.tif,pipe\nb,back.tif,alias.tif\nc,back.tif,gone.tif\n"
    pipe, alias, gone = problems(folder, text)
    assert "'pipe' is not a regular file" in pipe
    assert "'alias.tif' is the same file as 'back.tif'" in alias
    assert "file not found: 'gone.tif'" in gone


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX file names")
def test_names_that_a_manifest_cannot_hold(folder):
    (folder / "a|b.tif").touch()
    by_list = '{"id": "s", "frames": ["back.tif", "a|b.tif"]}'
    assert "has a | in it" in problem(folder, by_list, "m.jsonl")
    by_columns = '{"id": "s", "back": "back.tif", "front": "a|b.tif"}'
    assert load(folder, by_columns, "m.jsonl")[0].frames[1].name == "a|b.tif"


# --- ids


@pytest.mark.parametrize(
    "bad",
    [
        "/abs",
        "..",
        "../up",
        "a/../b",
        "a/./b",
        "a//b",
        "a/",
        ".hidden",
        ".batchstack",
        "a/.git",
        "dot.",
        "a./b",
        "a /b",
        "C:",
        "c:/x",
        "a\\b",
        "a\nb",
        "a\x00b",
        "a\x1bb",
        "a\u2028b",
        "what?",
        "a*",
        "a|b",
        'a"b',
        "<a>",
        "CON",
        "con",
        "a/nul.txt",
        "Com1",
        "lpt¹",
        "aux .x",
        "x" * 201,
        "ü" * 101,
        "a/" * 500 + "b",
        "a/" * 100_000 + "b",
        "failed.csv",
        "Failed.CSV",
        "failed.csv/x",
        "a/blending_mask.png",
        "blending_mask.jpg",
        "a/Focus_Stacked_Direct.tif/b",
    ],
)
def test_ids_that_are_refused(folder, bad):
    record = {"id": bad, "back": "back.tif", "front": "front.tif"}
    assert problem(folder, json.dumps(record), "m.jsonl").startswith("m.jsonl:1:1 id: ")


def test_what_a_run_writes_is_no_id(folder):
    assert FAILED in OWN_NAMES
    outputs = {name for method in ALL_METHODS.values() for name in method.outputs}
    files = [f"a/{name}{row.suffix}" for name, row in product(outputs, FORMATS.values())]
    records = [{"id": name, "frames": "img/*"} for name in [*OWN_NAMES, *sorted(files)]]
    lines = problems(folder, "\n".join(map(json.dumps, records)), "m.jsonl")
    for name, line in zip(OWN_NAMES, lines, strict=False):
        assert f"{name!r} is a file that the program writes in the output directory" in line
    assert all("is the name of an output" in line for line in lines[len(OWN_NAMES) :])
    assert len(lines) == len(records)


@pytest.mark.parametrize(
    "good",
    [
        *("a", "a/b/c", "cone", "com", "x" * 200, "höhle 7", "-a", "a.b"),
        *(
            "a/failed.csv",
            "failed",
            "failed.csv2",
            "a/blending_mask",
            "a/mask.png",
            "a/" * 499 + "b",
        ),
    ],
)
def test_ids_that_are_allowed(folder, good):
    record = {"id": good, "back": "back.tif", "front": "front.tif"}
    assert load(folder, json.dumps(record), "m.jsonl")[0].id == good


@pytest.mark.parametrize(
    ("one", "other"),
    [("a", "a"), ("Eye", "eYE"), ("a/B", "A/b"), ("é", unicodedata.normalize("NFD", "É"))],
)
def test_ids_that_share_a_folder(folder, one, other):
    text = f"id,back,front\n{one},back.tif,front.tif\n{other},back.tif,front.tif\n"
    line = problem(folder, text)
    assert line == f"pairs.csv:3:1 id: {other!r} is the same folder as {one!r} on line 2"


def test_an_id_may_be_the_parent_of_another(folder):
    text = "id,back,front\na,back.tif,front.tif\na/b,back.tif,front.tif\n"
    assert [row.id for row in load(folder, text)] == ["a", "a/b"]


# --- write and read again


def test_a_failed_write_leaves_the_old_file(folder):
    path = folder / "failed.csv"
    path.write_text("old")
    row = Row("s", tuple(f"{folder}/{name}" for name in ("a|b", "c", "d")), "")
    with pytest.raises(ManifestError, match="separates frames"):
        write_manifest(path, [row])
    bad = Row("s", (f"{folder}/a\udcff", f"{folder}/c"), "")
    with pytest.raises(UnicodeEncodeError):
        write_manifest(path, [bad])
    assert path.read_text() == "old"
    assert not list(folder.glob(".*part*"))


names = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="/\0|"), min_size=1, max_size=12
).filter(lambda name: name not in (".", "..") and len(name.encode()) < 200)
segments = st.text(st.sampled_from("abz09 -_äß.é=,;'"), min_size=1, max_size=8).filter(
    lambda s: s[0] not in ". " and s[-1] not in ". "
)
ids = st.lists(segments, min_size=1, max_size=3).map("/".join)
texts = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=9
)
values = texts.map(str.strip).filter(bool)
options = st.fixed_dictionaries(
    {},
    optional={
        "beta": st.floats(1e-3, 1e5),
        "kernel": st.sampled_from([1, 3, 255]),
        "median_sizes": st.lists(st.sampled_from([3, 5, 35]), min_size=1, max_size=6).map(tuple),
        "data_range": st.floats(1e-3, 1e9),
        "align": st.sampled_from(["off", "affine"]),
        "match_exposure": st.sampled_from(["auto", "on", "off"]),
        "format": st.sampled_from(["auto", "png"]),
        "resize": st.booleans(),
    },
)
metas = st.dictionaries(values.map(lambda text: f"meta_{text}"), values, max_size=2)
chosen = st.none() | st.just(("direct",)) | st.just(("direct", "by_channel"))
drafts = st.lists(
    st.tuples(ids, st.sets(names, min_size=2, max_size=4), chosen, options, metas),
    min_size=1,
    max_size=4,
    unique_by=lambda draft: draft[0].casefold(),
)


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX file names")
@given(drafts=drafts)
@settings(max_examples=60)
def test_written_rows_are_read_again(tmp_path_factory, drafts):
    folder = tmp_path_factory.mktemp("data")
    rows = []
    for stack_id, frame_names, methods, option, meta in drafts:
        frames = tuple(folder / name for name in sorted(frame_names))
        for frame in frames:
            frame.touch()
        pairs = tuple(sorted(option.items())), tuple(sorted(meta.items()))
        rows.append(Row(stack_id, tuple(map(str, frames)), "", methods, *pairs))
    write_manifest(folder / "m.csv", rows)
    assert load_manifest(folder / "m.csv", known_methods=METHODS).rows == tuple(rows)


@given(data=st.binary(max_size=200), name=st.sampled_from(["m.csv", "m.tsv", "m.jsonl", "m.yaml"]))
@settings(max_examples=200)
def test_any_bytes_are_read_or_refused_but_never_crash(tmp_path_factory, data, name):
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(b"id,frames\n" * (name[-3:] == "csv") + data)
    with pytest.raises(ManifestError):
        load_manifest(path, known_methods=METHODS)
