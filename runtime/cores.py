"""How many processor cores there are to use."""

import os


def available_cores() -> int:
    """Cores that this process may run on; at least 1. Not every system can tell them from all cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
