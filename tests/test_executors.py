"""Jobs by a command of one's own, and as pods of a cluster that a small server stands in for."""

import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import which
from threading import Thread

import pytest
import yaml
from test_deployment import MODEL, SMALL, TABLE, repository, run, table_of
from test_workflow import ROOT, copy_workflow, snakemake

__all__ = ["repository"]  # a fixture

COSTS = "results/tiles_or_batches/em.csv"  # of one job, which wants a GPU and needs no other job
PLUGIN = Path(sys.prefix) / "kubernetes"
SUBMIT = (
    "./submit --memory={resources.mem_mb} --gpus={resources.gpu} --cores={threads} --name={name}"
)
DEFAULTS = ("--default-resources", "gpu=0", "--seconds-between-status-checks", "1")

# Runs the job in the background, as a scheduler does, and prints its number.
SUBMITTER = """\
#!/bin/sh
echo "$*" >> submitted.txt
for script; do :; done
sh "$script" > /dev/null 2>&1 &
echo $!
"""
REFUSING = '#!/bin/sh\necho "$*" >> submitted.txt\necho "queue closed" >&2\nexit 1\n'


def write_program(path, text):
    path.write_text(text)
    path.chmod(0o755)


def submitted(folder):
    """What the submit command was given, by rule, without the path of the job's script."""
    lines = (folder / "submitted.txt").read_text().splitlines()
    commands = [line.rsplit(" ", 1)[0] for line in lines]
    return {command.partition("--name=")[2]: command for command in commands}


def submit_command(folder, program):
    copy_workflow(folder)
    (folder / "small.yaml").write_text(yaml.safe_dump(SMALL))
    write_program(folder / "submit", program)
    return ("--executor", "cluster-generic", "--cluster-generic-submit-cmd", SUBMIT, *DEFAULTS)


@pytest.mark.slow
def test_own_submit_command_gets_the_resources_and_its_jobs_make_the_table(tmp_path):
    executor = submit_command(tmp_path, SUBMITTER)
    run(tmp_path, TABLE, "--jobs", "2", "--configfile", "small.yaml", *executor)
    assert {row["method"] for row in table_of(tmp_path / TABLE)} == {"best-threshold", "u-net"}
    commands = submitted(tmp_path)
    assert commands["phantom"] == "--memory=1000 --gpus=0 --cores=1 --name=phantom"
    assert commands["train"] == "--memory=4000 --gpus=0 --cores=1 --name=train"
    assert commands["evaluate"] == "--memory=2000 --gpus=0 --cores=2 --name=evaluate"
    assert "demo" not in commands


def test_own_submit_command_gets_the_gpu_and_says_why_it_refuses(tmp_path):
    executor = submit_command(tmp_path, REFUSING)
    arguments = (COSTS, "--jobs", "1", "--config", "hardware=gpu", *executor)
    result = snakemake(tmp_path, *arguments)
    assert result.returncode != 0
    assert "queue closed" in result.stdout
    assert "Error submitting jobscript (exit code 1)" in result.stdout
    memory = (
        2000 + yaml.safe_load((ROOT / "config.yaml").read_text())["tiles_or_batches"]["memory_mb"]
    )
    name = "tiles_or_batches"
    assert submitted(tmp_path) == {name: f"--memory={memory} --gpus=1 --cores=1 --name={name}"}


class Cluster:
    """The requests that the plugin makes of a cluster; what its jobs say is run in their order.

    Attributes
    ----------
    jobs : manifests of the jobs that were asked for, by name.
    exit_codes : of those that have run.
    """

    def __init__(self, folder, runs):
        self.folder, self.runs = folder, runs
        self.jobs, self.exit_codes, self.logs = {}, {}, {}

    def create(self, manifest):
        name = manifest["metadata"]["name"]
        self.jobs[name] = manifest
        self.exit_codes[name] = self.run(name) if self.runs else 1

    def run(self, name):
        """Run a pod's command in an empty folder, with what its image would hold on the path."""
        (container,) = self.jobs[name]["spec"]["template"]["spec"]["containers"]
        workdir = self.folder / name
        workdir.mkdir()
        write_program(self.folder / "pip", "#!/bin/sh\n")  # the image has the storage plugin
        path = os.pathsep.join(
            [str(self.folder), str(Path(sys.executable).parent), os.environ["PATH"]]
        )
        pod = subprocess.run(
            [*container["command"], *container["args"]],
            cwd=workdir,
            env={"PATH": path, "HOME": str(workdir), "UNET_DATA_MIRROR": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.logs[name] = pod.stdout
        return pod.returncode

    def status(self, name):
        outcome = "failed" if self.exit_codes[name] else "succeeded"
        return {"metadata": {"name": name}, "status": {outcome: 1}}

    def containers(self):
        return [m["spec"]["template"]["spec"]["containers"][0] for m in self.jobs.values()]


def handler_of(cluster):
    class Handler(BaseHTTPRequestHandler):
        def answer(self, document):
            content = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self):
            document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path.endswith("/jobs"):
                cluster.create(document)
            self.answer(document)

        def do_GET(self):
            *_, name, last = self.path.split("/")
            self.answer(cluster.status(name) if last == "status" else {"items": []})

        def do_DELETE(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer({"status": "Success"})

        def log_message(self, *arguments):
            pass

    return Handler


@pytest.fixture
def start_cluster(tmp_path, monkeypatch):
    """Function that starts such a server; the plugin finds it as it finds a real one."""
    if not PLUGIN.is_dir():
        pytest.skip(f"no {PLUGIN}: `make test` installs the plugin there")
    if which("rsync") is None:
        pytest.skip("no rsync, by which the storage plugin fs copies")
    servers = []

    def start(*, runs):
        (tmp_path / "pods").mkdir()
        cluster = Cluster(tmp_path / "pods", runs)
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), handler_of(cluster)))
        Thread(target=servers[-1].serve_forever).start()
        address = f"http://127.0.0.1:{servers[-1].server_port}"
        named = {"clusters": "cluster", "users": "user", "contexts": "context"}
        details = {
            "cluster": {"server": address},
            "user": {},
            "context": dict.fromkeys(("cluster", "user"), "x"),
        }
        kubeconfig = {plural: [{"name": "x", one: details[one]}] for plural, one in named.items()}
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig | {"current-context": "x"}))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        monkeypatch.setenv("PYTHONPATH", str(PLUGIN))
        return cluster

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def on_kubernetes(storage):
    return (
        "--executor", "kubernetes", "--jobs", "1", "--seconds-between-status-checks", "1",
        "--default-storage-provider", "fs", "--default-storage-prefix", str(storage),
        "--kubernetes-persistent-volumes", f"unet:{storage}",
        "--container-image", "registry.example.org/unet:1",
    )  # fmt: skip


def test_kubernetes_wants_a_storage(repository, start_cluster):
    start_cluster(runs=False)
    result = snakemake(repository, "-n", TABLE, "--executor", "kubernetes", "--jobs", "1")
    assert result.returncode != 0
    assert "a default storage provider" in result.stdout


def test_kubernetes_dry_run_plans_the_files_in_the_storage(repository, start_cluster, tmp_path):
    start_cluster(runs=False)
    stdout = run(repository, "-n", TABLE, *on_kubernetes(tmp_path / "storage"))
    assert f"{tmp_path}/storage/{MODEL}" in stdout


@pytest.mark.parametrize("maker", ["nvidia", "amd"])
def test_kubernetes_job_asks_for_memory_cores_and_a_gpu_of_a_maker(
    repository, start_cluster, tmp_path, maker
):
    cluster = start_cluster(runs=False)
    defaults = ("--default-resources", f"gpu_manufacturer={maker}", "scale=0", "disk_mb=5000")
    executor = on_kubernetes(tmp_path / "storage")
    arguments = (COSTS, "--config", "hardware=gpu", "--retries", "0", *defaults, *executor)
    assert snakemake(repository, *arguments).returncode != 0
    (container,) = cluster.containers()
    both = {"memory": "10000M", "ephemeral-storage": "5000M", f"{maker}.com/gpu": "1"}
    assert container["resources"]["requests"] == both | {"cpu": "950m"}
    assert container["resources"]["limits"] == both | {"cpu": "1000m"}
    assert container["image"] == "registry.example.org/unet:1"


@pytest.mark.slow
def test_kubernetes_pods_compute_from_the_sources_in_the_storage(
    repository, start_cluster, tmp_path
):
    """Nothing of this workflow is in their image but the libraries that it needs."""
    cluster = start_cluster(runs=True)
    storage = tmp_path / "storage"
    (repository / "small.yaml").write_text(yaml.safe_dump(SMALL))
    subprocess.run(["git", "add", "small.yaml"], cwd=repository, check=True)
    arguments = ("--configfile", "small.yaml", "--default-resources", "gpu_manufacturer=nvidia")
    result = snakemake(repository, MODEL, *arguments, *on_kubernetes(storage))
    assert result.returncode == 0, "\n".join(cluster.logs.values())[-5000:]
    assert (storage / MODEL).is_file()
    assert len(cluster.jobs) == 4  # phantom, canonical, weight_maps, train
    assert set(cluster.exit_codes.values()) == {0}
