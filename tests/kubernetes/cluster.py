"""The dev overlay on a cluster, as a place for stories and for what is done to it."""

import asyncio
import json
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaProducer

from deploy.kubernetes.places import NAMESPACE
from deploy.kubernetes.rollout import kubectl
from shared.events.topics import ENGINE_SIGNALS
from tests.kubernetes.manifests import Manifest
from tests.support.eventually import eventually

BROKER: Final = "127.0.0.1:29092"
"""Where the listener FORWARDED of the dev overlay is reached, and says that it is."""

PSQL: Final = (
    'PGPASSWORD=$POSTGRES_PASSWORD exec psql -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -U postgres -d compass "$@"'
)

RESTRICTED: Final = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


class Cluster:
    """What kubectl's configuration names. The machine is one of its nodes, or COMPASS_KUBERNETES_GATEWAY_URL is set."""

    namespace = NAMESPACE
    psql = PSQL

    @property
    def database(self) -> str:
        """The pod that writes go to."""
        return "postgres-0"

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl says, in the namespace."""
        return kubectl("-n", self.namespace, *arguments, stdin=stdin)

    @property
    def gateway_url(self) -> str:
        """The Service of the gateway."""
        if given := os.environ.get("COMPASS_KUBERNETES_GATEWAY_URL"):
            return given
        return f"http://{self.get('service', 'gateway')['spec']['clusterIP']}"

    def get(self, kind: str, name: str) -> Manifest:
        """One object as it is now."""
        found: Manifest = json.loads(self.kubectl("get", kind, name, "-o", "json"))
        return found

    def pods(self, name: str) -> dict[str, bool]:
        """The pods of an app, those that are ending too, and whether each is ready."""
        label = f"app.kubernetes.io/name={name}"
        listed = json.loads(self.kubectl("get", "pods", "-l", label, "-o", "json"))
        return {
            pod["metadata"]["name"]: any(
                condition["type"] == "Ready" and condition["status"] == "True"
                for condition in pod["status"].get("conditions", ())
            )
            for pod in listed["items"]
        }

    async def restart(self, deployment: str) -> None:
        """Replace every pod, as a new release does, and wait until the old ones are gone."""
        before = self.pods(deployment)
        self.kubectl("rollout", "restart", f"deployment/{deployment}")
        await self._replaced(deployment, set(before), len(before))

    async def kill(self, deployment: str) -> None:
        """End one pod at once, without its time to finish, and wait for the one in its place."""
        before = self.pods(deployment)
        victim = min(before)
        self.kubectl("delete", "pod", victim, "--grace-period=0", "--force")
        await self._replaced(deployment, {victim}, len(before))

    async def _replaced(self, deployment: str, old: set[str], count: int) -> None:
        await eventually(
            lambda: asyncio.to_thread(self.pods, deployment),
            lambda pods: not old & set(pods) and len(pods) == count and all(pods.values()),
            seconds=300,
            every=0.5,
        )

    def query(self, sql: str, **values: str) -> list[str]:
        """Rows of an answer, columns separated by `|`; `:'name'` is a value. As superuser, in its pod."""
        given = [part for name, value in values.items() for part in ("-v", f"{name}={value}")]
        return self.kubectl(
            "exec", "-i", self.database, "--", "bash", "-c", self.psql, "psql", "-At", *given, stdin=sql
        ).split()

    def count(self, sql: str, **values: str) -> int:
        """The one number that a query answers."""
        (number,) = self.query(sql, **values)
        return int(number)

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[AIOKafkaProducer]:
        """A producer that reaches the broker through kubectl."""
        command = ["kubectl", "port-forward", "-n", self.namespace, "pod/kafka-0", BROKER.rpartition(":")[2]]
        forwarding = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL)
        try:
            await eventually(_forwarded, seconds=30)
            producer = AIOKafkaProducer(bootstrap_servers=BROKER, acks="all", linger_ms=5, enable_idempotence=True)
            async with producer:
                yield producer
        finally:
            forwarding.terminate()
            await forwarding.wait()

    async def send(self, signals: Iterable[dict[str, Any]]) -> None:
        """Publish as the engine does; returns when Kafka has them."""
        async with self.engine() as producer:
            await publish(producer, signals)

    @contextmanager
    def probe(self, tier: str) -> Iterator[str]:
        """A pod of a tier that does nothing until it is told to; its name."""
        name = f"probe-{tier}"
        image = self.get("job", "schema")["spec"]["template"]["spec"]["containers"][0]["image"]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"quality-compass/tier": tier}},
            "spec": {
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 0,
                "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [
                    {"name": "probe", "image": image, "command": ["sleep", "600"], "securityContext": RESTRICTED}
                ],
            },
        }
        self.kubectl("delete", "pod", name, "--ignore-not-found", "--wait")
        self.kubectl("create", "-f", "-", stdin=json.dumps(pod))
        try:
            self.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=120s")
            yield name
        finally:
            self.kubectl("delete", "pod", name, "--wait=false")


async def publish(producer: AIOKafkaProducer, signals: Iterable[dict[str, Any]]) -> None:
    """Keyed by facility, acknowledged by the broker."""
    futures = [
        await producer.send(ENGINE_SIGNALS.name, msgspec.json.encode(signal), signal["facility_id"].encode())
        for signal in signals
    ]
    for future in futures:
        await future


async def _forwarded() -> bool:
    host, _, port = BROKER.partition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1):
            return True
    except OSError:
        return False
