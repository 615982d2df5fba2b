"""Recipes do what they say, wherever the programs that they are for are installed."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import batchstack
from batchstack.images import write_image
from tests.scenes import stack

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "docs" / "recipes"
# What conda calls otherwise.
CONDA_NAMES = {"opencv-python-headless": "py-opencv", "xxhash": "python-xxhash"}


def needs(program):
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def run(command, folder, **environment):
    """The output of a command, which finds `batchstack` and `dask` as they are tested."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def card(tmp_path):
    """Two stacks as scan finds them, each in a folder of its own."""
    for seed, name in enumerate(("fern", "moss")):
        for number, frame in enumerate(stack((96, 128), 3, seed=seed)):
            write_image(tmp_path / "card" / name / f"{name}_{number:02d}.png", frame)
    return tmp_path


def test_a_slurm_job_runs_on_its_own_workers_and_goes_on_where_it_ended(workspace):
    """Started by hand, with a srun that starts its tasks on this machine."""
    workspace.manifest({name: workspace.stack(name) for name in ("first", "second")})
    programs = workspace.root / "programs"
    programs.mkdir()
    srun = programs / "srun"
    srun.write_text(
        "#!/usr/bin/env bash\ncount=${1#--ntasks=}; shift\n"
        "for ((n = 0; n < count; n++)); do \"$@\" & done\ntrap 'kill $(jobs -p)' TERM\nwait\n"
    )
    srun.chmod(0o755)
    command = ["bash", RECIPES / "slurm" / "batchstack.sh", "pairs.csv", "out", "--methods=direct"]
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    said = run(command, workspace.root, PATH=path, SLURM_NTASKS="1")
    assert "2 done, 0 skipped, 0 failed" in said
    assert "0 done, 2 skipped" in run(command, workspace.root, PATH=path, SLURM_NTASKS="1")
    assert not list(workspace.root.glob("scheduler-*"))


@needs("snakemake")
def test_snakemake_makes_fused_images_of_a_card(card):
    shutil.copy(RECIPES / "snakemake" / "Snakefile", card)
    run(["snakemake", "--cores", "1", "--config", "methods=direct"], card)
    assert len(list(card.glob("fused/*/focus_stacked_direct.png"))) == 2


@needs("nextflow")
def test_nextflow_runs_the_module(card):
    shutil.copytree(RECIPES / "nextflow", card / "nextflow")
    said = run(["nextflow", "run", "nextflow/main.nf", "--stacks", "card"], card)
    assert "fern: " in said and "moss: " in said


def has_docker():
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True).returncode == 0


@pytest.mark.skipif(not has_docker(), reason="no Docker daemon is running")
def test_the_container_fuses(card):
    run(["docker", "build", "-q", "-f", RECIPES / "Dockerfile", "-t", "batchstack", "."], ROOT)
    frames = sorted(path.name for path in (card / "card" / "fern").iterdir())
    mount = f"{card / 'card' / 'fern'}:/data"
    user = f"{os.getuid()}:{os.getgid()}"
    container = ["docker", "run", "--rm", "--user", user, "-v", mount, "batchstack"]
    run([*container, "fuse", "-o", "out", "--methods", "direct", *frames], card)
    assert (card / "card" / "fern" / "out" / "focus_stacked_direct.png").exists()


@needs("conda-build")
def test_conda_builds_the_package(tmp_path):
    run(["conda-build", RECIPES / "conda", "--output-folder", tmp_path], ROOT)


def test_the_conda_recipe_asks_for_what_the_package_asks_for():
    recipe = yaml.safe_load((RECIPES / "conda" / "meta.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {"python" + project["requires-python"]}
    for requirement in project["dependencies"]:
        name, limit = re.fullmatch(r"([\w-]+)(.*)", requirement).groups()
        wanted.add(CONDA_NAMES.get(name, name) + limit)
    assert {one.replace(" ", "") for one in recipe["requirements"]["run"]} == wanted
    assert recipe["package"]["version"] == batchstack.__version__
    (entry,) = recipe["build"]["entry_points"]
    assert entry == "batchstack = " + project["scripts"]["batchstack"]


def test_the_dockerfile_copies_what_is_there():
    for line in (RECIPES / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY"):
            for name in line.split()[1:-1]:
                assert (ROOT / name).exists(), name


def test_the_nextflow_module_describes_what_it_takes_and_gives():
    folder = RECIPES / "nextflow" / "batchstack" / "fuse"
    module, meta = (
        (folder / "main.nf").read_text(),
        yaml.safe_load((folder / "meta.yml").read_text()),
    )
    assert f"process {meta['name'].upper()} " in module
    assert set(re.findall(r"emit: (\w+)", module)) == set(meta["output"])
