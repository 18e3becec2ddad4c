"""Freed memory serves again: the system need not hand out new pages."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, resource, sys
from unetcore.memory import keep_freed_memory

if sys.argv[1] != "default":
    assert keep_freed_memory()
if sys.argv[1] == "given back":
    assert keep_freed_memory(False)

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.memset.argtypes = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t
libc.free.argtypes = (ctypes.c_void_p,)

def faults():
    for _ in range(20):
        block = libc.malloc(2**26)  # 64 MiB, more than glibc keeps by itself
        libc.memset(block, 1, 2**26)
        libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

before = faults()
print((faults() - before) * resource.getpagesize() / 20)
"""


def bytes_of_new_pages(mode):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can keep freed memory")
def test_kept_memory_needs_no_new_pages():
    assert bytes_of_new_pages("kept") < 2**20
    assert bytes_of_new_pages("default") > 2**25
    assert bytes_of_new_pages("given back") > 2**25
