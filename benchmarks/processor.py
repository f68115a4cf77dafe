"""Processor time of processes: what a figure is limited by, as far as it is work."""

import contextlib

import psutil


def seconds(pid: int) -> float:
    """What a process has used so far, with its children: those that live, and those that it has waited for."""
    process = psutil.Process(pid)
    used = process.cpu_times()
    total: float = used.user + used.system + used.children_user + used.children_system
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            used = child.cpu_times()
            total += used.user + used.system
    return total
