"""What is told of a load, as lines for the screen."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks.api_load.notes import Requests, percentile
from benchmarks.api_load.steps import Step

_STATEMENTS: Final = 12
_STORED_STATEMENTS: Final = 40
_LEAST_SHARE: Final = 0.005


def operations(requests: Requests) -> list[str]:
    """Each operation with its rate and how long it took."""
    lines = [f"{'operation':<52}{'per s':>8}{'p50 ms':>9}{'p99 ms':>9}{'failed':>8}"]
    for name, values in sorted(requests.milliseconds.items(), key=lambda item: -len(item[1])):
        failed = sum(number for what, number in requests.failures.items() if what.startswith(f"{name}: "))
        lines.append(
            f"{name:<52}{len(values) / requests.seconds:>8.1f}{percentile(values, 50):>9.1f}"
            f"{percentile(values, 99):>9.1f}{failed:>8}"
        )
    return lines


def refused(requests: Requests) -> list[str]:
    """What went wrong, and what was refused by right."""
    return [
        *(f"failed: {what}: {number}" for what, number in requests.failures.items()),
        *(f"a stream: {what}: {number}" for what, number in requests.stream_troubles.items()),
        *(f"refused by right: {what}: {number}" for what, number in requests.refusals.items()),
    ]


def cpu(taken: Mapping[str, float]) -> list[str]:
    """Who takes how much of the machine's cores."""
    lines = [f"{'process':<52}{'cores':>8}"]
    lines += [f"{name:<52}{cores:>8.2f}" for name, cores in taken.items() if cores >= _LEAST_SHARE]
    return [*lines, f"{'all':<52}{sum(taken.values()):>8.2f}"]


def statements(ran: Sequence[Mapping[str, Any]], seconds: float) -> list[str]:
    """What PostgreSQL spends its time on."""
    total = sum(row["milliseconds"] for row in ran)
    lines = [f"PostgreSQL executes {total / 1000 / seconds:.2f} s a second; most of it:"]
    lines += [
        f"{row['milliseconds'] / 1000 / seconds:>7.3f} s/s {row['calls'] / seconds:>7.1f}/s "
        f"{row['milliseconds'] / row['calls']:>7.2f} ms  {row['service']}: {row['query'][:110]}"
        for row in ran[:_STATEMENTS]
    ]
    return lines


def content(step: Step) -> dict[str, Any]:
    """A step as it is stored: what the tables are made of."""
    asked = step.requests
    return {
        "leaders": asked.users,
        "signals": step.published,
        "seconds": asked.seconds,
        "requests_per_second": asked.per_second,
        "p99": step.p99,
        "operations": {
            name: {"requests": len(values), "p50": percentile(values, 50), "p99": percentile(values, 99)}
            for name, values in asked.milliseconds.items()
        },
        "failures": asked.failures,
        "refusals": asked.refusals,
        "stream_troubles": asked.stream_troubles,
        "cores": step.cpu,
        "statements": step.statements[:_STORED_STATEMENTS],
        "around": [
            {"seconds": part.seconds, "failures": part.failures, "stream_troubles": part.stream_troubles}
            for part in step.around
        ],
        "notes": step.notes,
    }


def steps(all_steps: Sequence[Step]) -> list[str]:
    """Each step, the process that takes most beside it."""
    lines = [
        f"{'leaders':>8}{'signals/s':>10}{'requests/s':>11}{'p50 ms':>8}{'p99 ms':>8}{'failed':>7}"
        f"{'cores':>7}{'late p99 ms':>12}  most of it"
    ]
    for step in all_steps:
        asked = step.requests
        most = ", ".join(f"{name} {cores:.2f}" for name, cores in list(step.cpu.items())[:5])
        lines.append(
            f"{asked.users:>8}{step.published / asked.seconds:>10.0f}{asked.per_second:>11.0f}"
            f"{percentile(asked.all_milliseconds, 50):>8.1f}{step.p99:>8.0f}{asked.failed:>7}"
            f"{sum(step.cpu.values()):>7.2f}{percentile(asked.late, 99):>12.0f}  {most}"
        )
    return lines
