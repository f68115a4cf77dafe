"""The whole stack as one object: servers, topics, migrations, services, gateway, in the order that they need."""

import logging
from collections.abc import Callable, Sequence

from deploy.local import jobs, ports
from deploy.local.envoy import EmbeddedEnvoy
from deploy.local.kafka import EmbeddedKafka
from deploy.local.postgres import EmbeddedPostgres
from deploy.local.processes import clear_left_overs, release_guard
from deploy.local.secrets import SERVICES, load_or_make
from deploy.local.service import CommandOf, ServiceProcess, module_command, service_environment, wait_until_ready
from deploy.local.settings import LocalSettings
from deploy.local.state import StateLock
from deploy.local.supervisor import Part, Supervisor

READY_SECONDS = 90.0

_log = logging.getLogger(__name__)


class LocalStack:
    """Every process of the stack. Each part can be stopped, killed and started again by itself.

    `command_of` replaces how services are run. `say` is told what happens, for a person who waits.
    """

    def __init__(
        self,
        settings: LocalSettings,
        *,
        durable: bool = True,
        command_of: CommandOf = module_command,
        say: Callable[[str], None] = _log.info,
    ) -> None:
        self.settings = settings
        self._say = say
        self._lock = StateLock(settings.local_dir)
        self._secrets = load_or_make(settings.local_dir)
        self._job_log = settings.local_dir / "logs" / "jobs.log"
        self.postgres = EmbeddedPostgres(settings.local_dir, settings.postgres_port, durable=durable)
        self.kafka = EmbeddedKafka(settings.local_dir, settings.kafka_port)
        self.gateway = EmbeddedEnvoy(settings)
        self.services = {
            name: ServiceProcess(name, settings, self.service_environment(name), command_of) for name in SERVICES
        }
        self._started: list[Part] = []

    @property
    def gateway_url(self) -> str:
        """Where the API is."""
        return self.gateway.url

    @property
    def parts(self) -> Sequence[Part]:
        """What has been started, in order."""
        return tuple(self._started)

    def service(self, name: str) -> ServiceProcess:
        """One of the four services."""
        return self.services[name]

    def service_environment(self, name: str) -> dict[str, str]:
        """The environment of a service, also for its commands."""
        return service_environment(name, self.settings, self.postgres, self.kafka.bootstrap_servers, self._secrets)

    def start(self) -> None:
        """Start everything; afterwards every service is ready and the demo users can log in.

        Raises:
            StackError: what a person has to put right. What had been started is stopped again.
        """
        self._lock.acquire()
        try:
            self._clear()
            self.start_servers()
            self.prepare()
            self.start_services()
            self._start("gateway", self.gateway)
            self._say("making the demo users")
            jobs.make_demo_users(self.service_environment("auth"), self._job_log)
        except BaseException:
            self.stop()
            raise

    def start_servers(self) -> None:
        """PostgreSQL and Kafka."""
        self._start("PostgreSQL", self.postgres)
        self._start("Kafka", self.kafka)

    def prepare(self) -> None:
        """Topics and schemas."""
        self._say("creating topics")
        jobs.make_topics(self.kafka.bootstrap_servers, self._job_log)
        self._say("migrating the schemas")
        jobs.migrate(self.postgres, self._job_log)

    def start_services(self) -> None:
        """The four services at once; returns when all are ready."""
        for name, service in self.services.items():
            self._start(f"the service {name}", service)
        wait_until_ready(self.services.values(), READY_SECONDS)

    def supervisor(self, say: Callable[[str], None] = print) -> Supervisor:
        """Who looks after the parts that run now."""
        return Supervisor(self.parts, say)

    def stop(self) -> None:
        """Stop what was started, last first: no service loses its database while it finishes its work."""
        while self._started:
            # Forgotten only when it has ended, so that a stop that was interrupted can be done again.
            part = self._started[-1]
            self._say(f"stopping {part.name}")
            part.stop()
            self._started.pop()
        release_guard(self.settings.local_dir)
        self._lock.release()

    def _start(self, what: str, part: Part) -> None:
        self._say(f"starting {what}")
        # Noted first: a start that is interrupted half-way has something to stop as well.
        self._started.append(part)
        part.start()

    def _clear(self) -> None:
        """End what a crashed run left, then look at every port before anything is started."""
        for name in clear_left_overs(self.settings.local_dir):
            self._say(f"ended {name}, which an earlier run left behind")
        for variable, port in self.settings.ports().items():
            what = variable.removeprefix("COMPASS_").removesuffix("_PORT").lower()
            ports.require_free(port, what, variable)
