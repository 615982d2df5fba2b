"""What SECURITY.md promises."""

import ast
import json
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

import batchstack
from batchstack.batch.manifest import load_manifest
from batchstack.errors import BatchstackError, ManifestError
from batchstack.fusion import METHODS
from batchstack.images import StagedImage
from tests.processes import wait_for

ROOT = Path(batchstack.__file__).parent
# What starts programs, runs text or loads objects from files.
NEVER = {"subprocess", "pty", "pickle", "shelve", "marshal", "dill", "cloudpickle", "tarfile"}
# ExifTool is started, where it is installed.
STARTS = {"nikon.py": {"subprocess"}}
NEVER_CALLED = {"eval", "exec", "system", "popen", "execv", "spawnv", "full_load", "unsafe_load"}


def test_all_ports_of_a_run_are_on_loopback(workspace):
    stacks = {f"s{i}": workspace.stack(f"s{i}", shape=(500, 600)) for i in range(6)}
    workspace.manifest(stacks)
    process = workspace.start("run", "pairs.csv", "-o", "out", "--workers", 2, "--dashboard")
    wait_for(lambda: workspace.finished("out") >= 1, process)
    run = psutil.Process(process.pid)
    listening = [
        connection.laddr.ip
        for one in [run, *run.children(recursive=True)]
        for connection in one.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    process.communicate(timeout=200)
    assert process.returncode == 0
    assert listening
    assert set(listening) == {"127.0.0.1"}


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: path.name)
def test_nothing_starts_a_program_or_loads_an_object(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found = {name.name.partition(".")[0] for name in node.names} & NEVER
            assert found <= STARTS.get(path.name, set())
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").partition(".")[0] not in NEVER
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else None
            name = node.func.id if isinstance(node.func, ast.Name) else name
            assert name not in NEVER_CALLED
            assert not any(keyword.arg == "shell" for keyword in node.keywords)
            assert not (name in ("load", "safe_load") and "yaml" in ast.unparse(node.func))


@pytest.mark.parametrize("stack_id", ["../up", "a/../../up", "/abs", "..", ".batchstack/x", "a//b"])
def test_no_id_leads_out_of_the_output_directory(workspace, stack_id):
    workspace.manifest({stack_id: workspace.stack("a")})
    said = workspace.run("run", "pairs.csv", "-o", "sub/out", code=2).stderr
    assert "cannot be a folder" in said
    assert sorted(path.name for path in workspace.root.iterdir()) == ["frames", "pairs.csv"]


def test_yaml_makes_no_objects(workspace):
    back, front = workspace.stack("a")
    mark = workspace.root / "made"
    (workspace.root / "m.yaml").write_text(
        f"- id: a\n  back: {back}\n  front: {front}\n"
        f"  meta_x: !!python/object/apply:os.system ['touch {mark}']\n"
    )
    with suppress(ManifestError):
        load_manifest(workspace.root / "m.yaml", known_methods=METHODS)
    assert not mark.exists()


def test_scratch_is_read_without_pickles(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}, None], object), allow_pickle=True)
    with pytest.raises(BatchstackError):
        StagedImage(tmp_path / "a.npy").whole()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make certificates")
def test_a_cluster_with_tls_takes_who_has_the_certificate_and_no_other(workspace):
    certificate, key = workspace.root / "cert.pem", workspace.root / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    tls = ["--tls-ca-file", str(certificate), "--tls-cert", str(certificate)]
    tls += ["--tls-key", str(key)]
    workspace.manifest({"a": workspace.stack("a")})
    file = workspace.root / "scheduler.json"
    common = ["--scheduler-file", str(file), "--host", "127.0.0.1", "--no-dashboard", *tls]
    started = [start(workspace, "dask_scheduler", "--protocol", "tls", "--port", "0", *common)]
    try:
        wait_for(lambda: file.exists() and file.read_text().strip())
        started.append(start(workspace, "dask_worker", "--protocol", "tls", "--no-nanny", *common))
        address = json.loads(file.read_text())["address"]
        assert address.startswith("tls://")
        run = ["run", "pairs.csv", "--methods", "direct", "--align", "off", "--scheduler", address]
        said = workspace.run(*run, "-o", "without", code=2).stderr
        assert "--tls-ca-file" in said
        workspace.run(*run, "-o", "with", *tls)
    finally:
        for process in started:
            process.kill()
            process.wait(timeout=60)
    assert workspace.finished("with") == 1


def start(workspace, command, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.{command}", *arguments],
        cwd=workspace.root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
