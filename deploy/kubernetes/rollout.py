"""Bringing an overlay up, or to a new release, in its order: servers, jobs that run to their end, services."""

import json
import subprocess
import time
from collections.abc import Sequence
from typing import Any, Final

import yaml

from deploy.kubernetes.places import NAMESPACE, STAGE_LABEL
from deploy.kubernetes.rendering import manifests

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
    """Apply one stage after the other and wait for each. May be run again: then it is the upgrade.

    Raises:
        RolloutError: a stage failed; what comes after it was not touched, so the release before goes on.
    """
    servers, jobs, services = in_stages(manifests(overlay))
    _apply(servers)
    _wait(servers)
    # A finished job cannot be changed, and is to run again.
    for job in jobs:
        if job["kind"] == "Job":
            kubectl("delete", "job", job["metadata"]["name"], "-n", NAMESPACE, "--ignore-not-found", "--wait")
    _apply(jobs)
    _wait_for_jobs([job["metadata"]["name"] for job in jobs if job["kind"] == "Job"])
    _apply(services)
    _wait(services)


def _apply(documents: Sequence[Manifest]) -> None:
    said = kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=yaml.safe_dump_all(documents))
    print(said, end="", flush=True)


def _wait(documents: Sequence[Manifest]) -> None:
    for document in documents:
        kind, name = document["kind"], document["metadata"]["name"]
        api = f"{kind}.{document['apiVersion'].partition('/')[0]}" if "/" in document["apiVersion"] else kind
        started = time.monotonic()
        if kind in _ROLLED_OUT:
            kubectl("rollout", "status", f"{kind}/{name}", "-n", NAMESPACE, f"--timeout={_LONGEST}s")
        elif kind in _CONDITIONS:
            condition = f"--for=condition={_CONDITIONS[kind]}"
            kubectl("wait", condition, f"{api}/{name}", "-n", NAMESPACE, f"--timeout={_LONGEST}s")
        else:
            continue
        print(f"{kind} {name} is ready after {time.monotonic() - started:.0f} s", flush=True)


def _wait_for_jobs(names: Sequence[str]) -> None:
    """Until all are complete; one that failed ends the wait at once, with the end of its log."""
    deadline = time.monotonic() + _LONGEST
    waiting = set(names)
    while waiting:
        for job in json.loads(kubectl("get", "jobs", "-n", NAMESPACE, "-o", "json"))["items"]:
            name = job["metadata"]["name"]
            conditions = {item["type"] for item in job["status"].get("conditions", []) if item["status"] == "True"}
            if name in waiting and "Failed" in conditions:
                log = kubectl("logs", "-n", NAMESPACE, f"job/{name}", "--all-containers", "--tail=20")
                raise RolloutError(f"job {name} failed:\n{log}")
            if name in waiting and "Complete" in conditions:
                print(f"job {name} is done", flush=True)
                waiting.discard(name)
        if waiting and time.monotonic() > deadline:
            raise RolloutError(f"jobs are not done after {_LONGEST} s: {', '.join(sorted(waiting))}")
        if waiting:
            time.sleep(1)
