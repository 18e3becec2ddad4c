"""Free memory under the limits of machines, containers and shells, from a made-up /proc."""

import pytest
import torch

from unetcore import free_memory
from unetcore.free_memory import available_memory

CPU = torch.device("cpu")


@pytest.fixture
def proc(tmp_path, monkeypatch):
    """Folder like /proc, of a machine with 8 GB available and no limits."""
    folder = tmp_path / "proc"
    (folder / "self").mkdir(parents=True)
    (folder / "meminfo").write_text("MemTotal: 16000000 kB\nMemAvailable:    8000000 kB\n")
    (folder / "self/status").write_text("Name:\tpython\nVmSize:\t 2000000 kB\n")
    limit_addresses(monkeypatch, free_memory.resource.RLIM_INFINITY)
    return folder


def limit_addresses(monkeypatch, n_bytes):
    monkeypatch.setattr(free_memory.resource, "getrlimit", lambda kind: (n_bytes, n_bytes))


def make_group(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_memory_of_the_machine(proc):
    assert available_memory(CPU, proc) == 8_000_000 * 1024


def test_limit_of_addresses(proc, monkeypatch):
    limit_addresses(monkeypatch, 3_000_000 * 1024)
    expected = 1_000_000 * 1024 - free_memory.RESERVED
    assert available_memory(CPU, proc) == expected
    limit_addresses(monkeypatch, 1_000_000 * 1024)  # less than there is already
    assert available_memory(CPU, proc) == 0


def test_tightest_of_nested_groups_counts(proc, tmp_path):
    """Version 2: files that were read count as used, and can be dropped."""
    mount = tmp_path / "cgroup"
    (proc / "self/mounts").write_text(f"cgroup2 {mount} cgroup2 rw,relatime 0 0\n")
    (proc / "self/cgroup").write_text("0::/job/step\n")
    make_group(mount / "job/step", memory__max="max\n", memory__current="500\n")
    make_group(
        mount / "job",
        memory__max="5000\n",
        memory__current="1200\n",
        memory__stat="anon 900\nactive_file 100\ninactive_file 200\n",
    )
    assert available_memory(CPU, proc) == 5000 - 1200 + 200
    make_group(mount / "job/step", memory__max="700\n")
    assert available_memory(CPU, proc) == 200


@pytest.mark.parametrize("path", ["/job", "/of/the/host/only"])
def test_group_of_version_1(proc, tmp_path, path):
    """A container may see its group at the mount point, under a path that is not there."""
    mount = tmp_path / "memory"
    mounts = f"cgroup {tmp_path}/cpu cgroup rw,cpu 0 0\ncgroup {mount} cgroup rw,memory 0 0\n"
    (proc / "self/mounts").write_text(mounts)
    (proc / "self/cgroup").write_text(f"5:cpu:{path}\n4:memory:{path}\n0::/\n")
    here = mount / "job" if path == "/job" else mount
    make_group(
        here,
        memory__limit_in_bytes="5000\n",
        memory__usage_in_bytes="1200\n",
        memory__stat="total_inactive_file 200\n",
    )
    assert available_memory(CPU, proc) == 4000


def test_group_without_a_limit(proc, tmp_path):
    mount = tmp_path / "memory"
    (proc / "self/mounts").write_text(f"cgroup {mount} cgroup rw,memory 0 0\n")
    (proc / "self/cgroup").write_text("4:memory:/\n")
    unlimited = f"{2**63 - 4096}\n"
    make_group(mount, memory__limit_in_bytes=unlimited, memory__usage_in_bytes="5\n")
    assert available_memory(CPU, proc) == 8_000_000 * 1024


def test_system_that_does_not_say(tmp_path, monkeypatch):
    monkeypatch.setattr(free_memory, "resource", None)
    assert available_memory(CPU, tmp_path) is None


def test_this_machine_says():
    assert available_memory(CPU) is None or 0 < available_memory(CPU) < 2**50


def test_memory_of_a_gpu_that_the_process_holds_and_does_not_use_is_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (300, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 500)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 100)
    assert available_memory(torch.device("cuda", 0)) == 700
