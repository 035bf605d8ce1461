import subprocess
import sys

import pytest

COUNT_FRESH_PAGES = """
import resource, sys
import torch
from runtime.memory.allocator import keep_freed_memory

def fresh_pages(mib):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(mib * 2**20 // 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(1)
if sys.argv[1] == "keep":
    keep_freed_memory()
fresh_pages(128)
print(fresh_pages(64))
"""


def fresh_pages(mode: str) -> int:
    done = subprocess.run([sys.executable, "-c", COUNT_FRESH_PAGES, mode], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="counts glibc's pages")
def test_a_tensor_in_the_place_of_a_freed_one_needs_no_fresh_pages():
    assert fresh_pages("keep") < fresh_pages("give back") / 4


GAPS = """
from pathlib import Path
import mmap, torch
from runtime.memory.allocator import give_back_freed_memory, keep_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE // 2**20

keep_freed_memory()
blocks = [torch.ones(2**18) for _ in range(400)]  # of 1 MiB
kept = blocks[::2]
before = resident()
del blocks
print(before - resident())
give_back_freed_memory()
print(before - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts glibc's pages")
def test_gaps_between_blocks_in_use_are_given_back():
    done = subprocess.run([sys.executable, "-c", GAPS], capture_output=True, text=True, check=True)
    kept, given_back = map(int, done.stdout.split())
    assert kept < 50 and given_back > 150
