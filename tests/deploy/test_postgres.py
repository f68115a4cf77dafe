"""The embedded PostgreSQL: its life and death, and what its roles may do."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from deploy.local.errors import StackError
from deploy.local.ports import free_port
from deploy.local.postgres import EmbeddedPostgres
from deploy.local.postgres_place import prepare_place, remembered_place
from deploy.local.processes import PROJECT_ROOT, poll_until
from deploy.local.secrets import SERVICES
from tests.support.stack import running, temporary_state_dir


@pytest.fixture
def server() -> Iterator[EmbeddedPostgres]:
    """A server of its own, for a test that stops, kills or damages it."""
    with temporary_state_dir() as state_dir, running(EmbeddedPostgres(state_dir, free_port())) as postgres:
        yield postgres


def query(url: str, statement: str) -> list[asyncpg.Record]:
    async def run() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(url, timeout=10)
        try:
            return list(await connection.fetch(statement))
        finally:
            await connection.close()

    return asyncio.run(run())


def test_committed_rows_survive_a_kill_and_a_stop(server: EmbeddedPostgres) -> None:
    url = server.owner_url("signals")
    query(url, "CREATE TABLE kept (n integer)")
    query(url, "INSERT INTO kept VALUES (1)")
    server.kill()
    with pytest.raises(ConnectionRefusedError):
        query(url, "SELECT 1")

    server.start()
    assert [row["n"] for row in query(url, "SELECT n FROM kept")] == [1]
    server.stop()
    server.start()
    assert [row["n"] for row in query(url, "SELECT n FROM kept")] == [1]


def test_a_server_left_by_a_killed_starter_is_cleared_and_its_data_kept() -> None:
    with temporary_state_dir() as state_dir:
        port = free_port()
        starter = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import sys, time; from pathlib import Path\n"
                "from deploy.local import processes; from deploy.local.postgres import EmbeddedPostgres\n"
                "processes._watch = lambda run_dir: None  # as if the guard had been killed along\n"
                "EmbeddedPostgres(Path(sys.argv[1]), int(sys.argv[2])).start()\n"
                "print('runs', flush=True); time.sleep(600)",
                str(state_dir),
                str(port),
            ],
            cwd=PROJECT_ROOT,
            stdout=subprocess.PIPE,
        )
        assert starter.stdout is not None
        assert starter.stdout.readline() == b"runs\n"
        starter.kill()
        starter.wait()
        starter.stdout.close()
        left = json.loads((state_dir / "run" / "postgres.json").read_text())["pid"]
        assert psutil.pid_exists(left)
        server = EmbeddedPostgres(state_dir, port)
        query(server.admin_url, "CREATE TABLE public.kept AS SELECT 7 AS n")

        with running(server):
            assert server.process.pid != left
            assert [row["n"] for row in query(server.admin_url, "SELECT n FROM public.kept")] == [7]


def test_a_server_whose_record_is_lost_is_known_by_its_data_folder(server: EmbeddedPostgres) -> None:
    pid = server.process.pid
    (server.state_dir / "run" / "postgres.json").unlink()

    with running(EmbeddedPostgres(server.state_dir, server.port)) as again:
        assert again.process.pid != pid


def test_a_lock_file_with_the_pid_of_a_stranger_does_not_keep_it_from_starting(server: EmbeddedPostgres) -> None:
    server.kill()
    place = prepare_place(server.state_dir)
    lock_file = place.data / "postmaster.pid"
    lines = lock_file.read_text().splitlines()
    # Of the same user: PostgreSQL itself ignores the processes of others.
    stranger = subprocess.Popen(["sleep", "600"], user=place.user)
    try:
        lock_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")

        server.start()

        assert stranger.poll() is None
        assert [row[0] for row in query(server.admin_url, "SELECT 1")] == [1]
    finally:
        stranger.kill()
        stranger.wait()


def test_a_half_made_data_folder_is_made_anew() -> None:
    with temporary_state_dir() as state_dir:
        place = prepare_place(state_dir)
        place.data.mkdir()
        (place.data / "PG_VERSION").write_text("18\n")

        with running(EmbeddedPostgres(state_dir, free_port(), durable=False)) as server:
            assert [row[0] for row in query(server.admin_url, "SELECT 1")] == [1]


def test_a_port_in_use_is_said_before_anything_is_made(postgres: EmbeddedPostgres) -> None:
    with temporary_state_dir() as state_dir:
        second = EmbeddedPostgres(state_dir, postgres.port)
        with pytest.raises(StackError, match=rf"port {postgres.port} for PostgreSQL .* COMPASS_POSTGRES_PORT"):
            second.start()
        assert not prepare_place(state_dir).data.exists()


def test_the_secrets_are_readable_by_their_owner_only(postgres: EmbeddedPostgres) -> None:
    mode = (postgres.state_dir / "secrets.json").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to run the server as another user")
def test_under_root_a_state_directory_in_a_private_folder_works_and_leaves_nothing(tmp_path: Path) -> None:
    with temporary_state_dir() as folder:
        folder.chmod(0o700)
        state_dir = folder / "state"
        server = EmbeddedPostgres(state_dir, free_port(), durable=False)
        server.start()
        try:
            elsewhere = remembered_place(state_dir)
            assert elsewhere is not None
            assert not elsewhere.is_relative_to(folder)
            assert psutil.Process(server.process.pid).username() == "embedded_postgres"
            assert [row[0] for row in query(server.admin_url, "SELECT 1")] == [1]
            server.stop()
        finally:
            server.stop()
            removed = subprocess.run(
                [sys.executable, "-m", "deploy.local", "clean-data", "--yes"],
                env={**os.environ, "COMPASS_LOCAL_DIR": str(state_dir)},
                cwd=PROJECT_ROOT,
                check=False,
            )
        assert removed.returncode == 0
        assert not state_dir.exists()
        assert not elsewhere.exists()


def test_a_wrong_password_is_refused(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        query(postgres.database_url("compass_signals", "wrong"), "SELECT 1")


@pytest.mark.parametrize("service", SERVICES)
def test_a_role_works_in_its_own_schema_and_sees_no_other(postgres: EmbeddedPostgres, service: str) -> None:
    query(postgres.owner_url(service), "CREATE TABLE IF NOT EXISTS of_a_test (n integer, id serial)")
    try:
        query(postgres.service_url(service), "INSERT INTO of_a_test (n) VALUES (1)")
        assert query(postgres.service_url(service), "SELECT * FROM of_a_test")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            query(postgres.service_url(service), "CREATE TABLE another (n integer)")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            query(postgres.service_url(service), "TRUNCATE of_a_test")
        for other in set(SERVICES) - {service}:
            for url in (postgres.service_url(other), postgres.owner_url(other)):
                with pytest.raises(asyncpg.InsufficientPrivilegeError, match=f"schema {service}"):
                    query(url, f"SELECT * FROM {service}.of_a_test")  # noqa: S608 - a name of our own
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    query(url, "CREATE TABLE public.of_a_test (n integer)")
    finally:
        query(postgres.owner_url(service), "DROP TABLE of_a_test")


def test_running_the_roles_again_gives_back_nothing_that_was_revoked(postgres: EmbeddedPostgres) -> None:
    owner = postgres.owner_url("activity")
    query(owner, "CREATE TABLE append_only (n integer)")
    try:
        query(owner, "REVOKE UPDATE, DELETE ON append_only FROM compass_activity")

        postgres.create_database("compass")

        query(postgres.service_url("activity"), "INSERT INTO append_only VALUES (1)")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            query(postgres.service_url("activity"), "DELETE FROM append_only")
    finally:
        query(owner, "DROP TABLE append_only")


def test_init_sh_makes_the_same_on_any_server_that_psql_reaches(postgres: EmbeddedPostgres) -> None:
    from deploy.local.postgres_place import installed_programs

    secrets = json.loads((postgres.state_dir / "secrets.json").read_text())
    postgres._psql("postgres", [], script="CREATE DATABASE by_init_sh;")
    passwords = {
        f"COMPASS_{role.removeprefix('compass_').upper()}_PASSWORD": password
        for role, password in secrets["roles"].items()
    }
    environment = {
        **os.environ,
        **passwords,
        "PATH": f"{installed_programs()}:{os.environ['PATH']}",
        "PGHOST": "127.0.0.1",
        "PGPORT": str(postgres.port),
        "PGPASSWORD": secrets["postgres"],
        "POSTGRES_DB": "by_init_sh",
    }
    try:
        script = PROJECT_ROOT / "deploy" / "postgres" / "init.sh"
        for _ in range(2):
            ran = subprocess.run([str(script)], env=environment, capture_output=True, text=True, check=False)
            assert ran.returncode == 0, ran.stderr
        query(postgres.owner_url("auth", "by_init_sh"), "CREATE TABLE t (n integer)")
        assert query(postgres.service_url("auth", "by_init_sh"), "SELECT * FROM t") == []
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            query(postgres.service_url("signals", "by_init_sh"), "SELECT * FROM auth.t")
    finally:
        postgres.drop_database("by_init_sh")


def test_a_stack_in_use_is_not_disturbed_by_a_second_one(server: EmbeddedPostgres) -> None:
    from deploy.local.state import StateLock, remove_state

    lock = StateLock(server.state_dir)
    lock.acquire()
    try:
        with pytest.raises(StackError, match=rf"runs already .* \(process {os.getpid()}\)"):
            remove_state(server.state_dir)
        assert server.process.is_running
    finally:
        lock.release()


def test_a_paused_server_answers_again_when_it_is_resumed(server: EmbeddedPostgres) -> None:
    server.process.pause()
    assert poll_until(lambda: psutil.Process(server.process.pid).status() == psutil.STATUS_STOPPED, 5)
    os.kill(server.process.pid, signal.SIGCONT)
    assert [row[0] for row in query(server.admin_url, "SELECT 1")] == [1]
