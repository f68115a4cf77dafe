"""deploy/compose.yaml as an operator runs it."""

import asyncio
import socket
from typing import Any

import pytest

from tests.containers.compose import RUNNING, SERVICES, Compose
from tests.e2e import stories
from tests.e2e.api import PASSWORD, api, id_of
from tests.e2e.stories import feed_of, new_signal
from tests.support.eventually import eventually

pytestmark = [pytest.mark.containers, pytest.mark.timeout(600)]

_OK, _KILLED = 0, 137
_JOBS = {"database", "topics", "gateway-configuration", *(f"migrate-{service}" for service in SERVICES)}


@stories.each
async def test_the_story_goes_as_told(compose: Compose, story: stories.Story) -> None:
    await story(compose)


def test_the_jobs_are_done_and_all_else_is_healthy(compose: Compose) -> None:
    states = {service: compose.inspect(service)["State"] for service in compose.services()}

    assert set(states) == {*RUNNING, *_JOBS}
    assert {service: states[service]["ExitCode"] for service in _JOBS} == dict.fromkeys(_JOBS, _OK)
    assert {service: states[service]["Health"]["Status"] for service in RUNNING} == dict.fromkeys(RUNNING, "healthy")


def test_only_the_gateway_is_published_and_only_it_has_a_way_out(compose: Compose) -> None:
    published, connected = set(), set()
    for service in compose.services():
        container = compose.inspect(service)
        if any(container["NetworkSettings"]["Ports"].values()):
            published.add(service)
        if any(name.endswith("_edge") for name in container["NetworkSettings"]["Networks"]):
            connected.add(service)

    assert published == connected == {"gateway"}


@pytest.mark.parametrize("service", RUNNING)
def test_it_may_nothing_that_it_does_not_need(compose: Compose, service: str) -> None:
    container = compose.inspect(service)
    limits = container["HostConfig"]

    assert limits["ReadonlyRootfs"]
    assert limits["CapDrop"] == ["ALL"]
    assert not limits["CapAdd"]
    assert "no-new-privileges:true" in limits["SecurityOpt"]
    assert limits["Memory"] > 0
    assert limits["PidsLimit"] > 0
    assert compose("exec", "-T", service, "sh", "-c", "id -u").strip() != "0"
    with pytest.raises(AssertionError, match=r"(?i)read-only file system|permission denied"):
        compose("exec", "-T", service, "sh", "-c", "echo x > /etc/x")


@pytest.mark.parametrize("service", RUNNING)
async def test_what_is_killed_comes_back_and_the_story_goes_on(compose: Compose, service: str) -> None:
    before = compose.inspect(service)["RestartCount"]
    signal, admin = new_signal(), api(compose, "admin")
    await compose.send([signal])

    compose.kill(service)

    await eventually(
        lambda: asyncio.to_thread(compose.inspect, service),
        lambda seen: seen["RestartCount"] > before and seen["State"]["Running"],
        seconds=60,
        every=0.5,
    )
    await _all_healthy(compose)
    await admin.login()
    await feed_of(admin, id_of(signal), 1)
    await stories.from_the_engine_to_the_feed(compose)


async def test_a_request_at_work_is_finished_before_the_gateway_stops(compose: Compose) -> None:
    body = f'{{"email": "admin@demo.example", "password": "{PASSWORD}"}}'.encode()
    head = (
        "POST /api/auth/login HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    address = ("127.0.0.1", int(compose.gateway_url.rpartition(":")[2]))
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall(head.encode())
        # It is at work once a later request has been answered.
        await eventually(lambda: asyncio.to_thread(compose.answers))
        stopping = asyncio.create_task(asyncio.to_thread(compose, "stop", "gateway"))
        await eventually(lambda: asyncio.to_thread(compose.answers), lambda answers: not answers)

        connection.sendall(body)

        answer = await asyncio.to_thread(connection.recv, 65536)
        assert answer.startswith(b"HTTP/1.1 200 "), answer
    await stopping
    assert compose.inspect("gateway")["State"]["ExitCode"] == _OK
    await asyncio.to_thread(compose.up)


async def test_what_is_stopped_ends_by_itself_and_the_data_is_kept(compose: Compose) -> None:
    signal, admin = new_signal(), api(compose, "admin")
    await admin.login()
    await compose.send([signal])
    await feed_of(admin, id_of(signal), 1)

    await asyncio.to_thread(compose, "stop")

    codes = {service: compose.inspect(service)["State"]["ExitCode"] for service in RUNNING}
    # 143: Java's way of saying that a signal ended it, after its clean shutdown.
    assert codes | {"kafka": _OK} == dict.fromkeys(RUNNING, _OK)
    assert codes["kafka"] != _KILLED

    await asyncio.to_thread(compose.down, volumes=False)
    await asyncio.to_thread(compose.up)

    await feed_of(admin, id_of(signal), 1)
    page = await admin.get("/api/signals", facility=signal["facility"])
    assert [row["id"] for row in page["signals"]] == [str(id_of(signal))]


def test_no_secret_reaches_who_does_not_need_it(compose: Compose) -> None:
    def environment(service: str) -> dict[str, str]:
        return dict(entry.partition("=")[::2] for entry in compose.inspect(service)["Config"]["Env"])

    for service in SERVICES:
        own = environment(service)
        assert f"compass_{service}:" in own["COMPASS_DATABASE_URL"]
        assert "_owner" not in str(own)
        assert ("COMPASS_KEY_ENCRYPTION_KEY" in own) is (service == "auth")
        assert not any("POSTGRES" in name for name in own)


def test_text_is_ordered_as_everywhere_else(compose: Compose) -> None:
    asked = "SELECT datlocprovider, datlocale FROM pg_database WHERE datname = 'compass'"
    psql = ("psql", "--host=127.0.0.1", "--username=postgres", "--no-align", "--tuples-only")
    said = compose("exec", "-T", "postgres", "sh", "-c", f'PGPASSWORD=$POSTGRES_PASSWORD {" ".join(psql)} -c "{asked}"')

    assert said.strip() == "b|C.UTF-8"


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_knows_whether_it_is_well(compose: Compose, service: str) -> None:
    for question in ("healthy", "ready"):
        assert '"status":"ok"' in compose("exec", "-T", service, "python", "-m", "deploy.container", question)


async def test_an_operator_s_command_runs_beside_the_service(compose: Compose) -> None:
    verified = await asyncio.to_thread(compose, "exec", "-T", "activity", "python", "-m", "services.activity.verify")

    assert verified.strip()


async def _all_healthy(compose: Compose) -> None:
    def states() -> dict[str, Any]:
        return {service: compose.inspect(service)["State"] for service in RUNNING}

    await eventually(
        lambda: asyncio.to_thread(states),
        lambda seen: all(state["Running"] and state["Health"]["Status"] == "healthy" for state in seen.values()),
        seconds=180,
        every=1,
    )
