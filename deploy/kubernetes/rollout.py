"""Bringing an overlay up, or to a new release, in its order: servers, jobs that run to their end, services."""

import json
import subprocess
import time
from collections.abc import Sequence
from typing import Any, Final

import yaml

from deploy.kubernetes.places import STAGE_LABEL
from deploy.kubernetes.rendering import manifests
from deploy.local.processes import poll_until

Manifest = dict[str, Any]

# What tells by itself that it is ready: by a rollout, or by a condition.
_ROLLED_OUT: Final = {"Deployment", "StatefulSet"}
_CONDITIONS: Final = {"Cluster": "Ready", "Kafka": "Ready", "KafkaTopic": "Ready"}
_LONGEST: Final = 900


class RolloutError(Exception):
    """kubectl refused something, or it was not ready in time; the message is kubectl's."""


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    """Run kubectl against the cluster that its own configuration names; what it printed.

    Raises:
        RolloutError: with what it said.
    """
    done = subprocess.run(["kubectl", *arguments], input=stdin, capture_output=True, text=True, check=False)  # noqa: S607
    if done.returncode:
        raise RolloutError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def in_stages(documents: Sequence[Manifest]) -> tuple[list[Manifest], list[Manifest], list[Manifest]]:
    """Servers and what everything needs; jobs with their accounts; services and what belongs to them."""
    stages: dict[str, list[Manifest]] = {"servers": [], "jobs": [], "services": []}
    for document in documents:
        stages[document["metadata"].get("labels", {}).get(STAGE_LABEL, "servers")].append(document)
    return stages["servers"], stages["jobs"], stages["services"]


def deploy(overlay: str) -> None:
    """Bring an overlay up, or to a new release.

    Raises:
        RolloutError: a stage failed; what comes after it was not touched, so the release before goes on.
    """
    roll_out(manifests(overlay))


def roll_out(documents: Sequence[Manifest]) -> None:
    """Apply one stage after the other and wait for each. May be run again: then it is the upgrade.

    Raises:
        RolloutError: a stage failed; what comes after it was not touched, so the release before goes on.
    """
    servers, jobs, services = in_stages(documents)
    _apply(servers)
    _wait(servers)
    waiting = [job["metadata"] for job in jobs if job["kind"] == "Job"]
    # A finished job cannot be changed, and is to run again.
    for job in waiting:
        kubectl("delete", "job", job["name"], "-n", job["namespace"], "--ignore-not-found", "--wait")
    _apply(jobs)
    _wait_for_jobs(waiting)
    _apply(services)
    _wait(services)


def _apply(documents: Sequence[Manifest]) -> None:
    said = kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=yaml.safe_dump_all(documents))
    print(said, end="", flush=True)


def _wait(documents: Sequence[Manifest]) -> None:
    for document in documents:
        kind, name, group = document["kind"], document["metadata"]["name"], document["apiVersion"].partition("/")[0]
        started = time.monotonic()
        if kind in _ROLLED_OUT:
            wait = ("rollout", "status", f"{kind}/{name}")
        elif kind in _CONDITIONS:
            wait = ("wait", f"--for=condition={_CONDITIONS[kind]}", f"{kind}.{group}/{name}")
        else:
            continue
        kubectl(*wait, "-n", document["metadata"]["namespace"], f"--timeout={_LONGEST}s")
        print(f"{kind} {name} is ready after {time.monotonic() - started:.0f} s", flush=True)


def _wait_for_jobs(jobs: Sequence[Manifest]) -> None:
    """Until all are complete; one that failed ends the wait at once, with the end of its log."""
    waiting = {job["name"]: job["namespace"] for job in jobs}

    def all_complete() -> bool:
        for name, namespace in list(waiting.items()):
            job = json.loads(kubectl("get", "job", name, "-n", namespace, "-o", "json"))
            conditions = {item["type"] for item in job["status"].get("conditions", []) if item["status"] == "True"}
            if "Failed" in conditions:
                log = kubectl("logs", "-n", namespace, f"job/{name}", "--all-containers", "--tail=20")
                raise RolloutError(f"job {name} failed:\n{log}")
            if "Complete" in conditions:
                print(f"job {name} is done", flush=True)
                del waiting[name]
        return not waiting

    if not poll_until(all_complete, _LONGEST, interval=1):
        raise RolloutError(f"jobs are not done after {_LONGEST} s: {', '.join(sorted(waiting))}")
