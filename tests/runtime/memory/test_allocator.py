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
