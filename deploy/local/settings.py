"""Where the local stack listens and keeps its data; from the environment, prefix COMPASS_."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from deploy.local.processes import PROJECT_ROOT
from shared.settings import PREFIX

Port = Annotated[int, Field(ge=1, le=65535)]


class LocalSettings(BaseSettings):
    """Ports on 127.0.0.1 and the state directory. With others of both, two stacks run side by side."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    local_dir: Path = PROJECT_ROOT / ".local"
    gateway_port: Port = 8080
    kafka_port: Port = 19092
    postgres_port: Port = 15432
    signals_port: Port = 8101
    workflow_port: Port = 8102
    activity_port: Port = 8103
    auth_port: Port = 8104

    def service_port(self, service: str) -> int:
        """The port of one service."""
        port: int = getattr(self, f"{service}_port")
        return port

    def ports(self) -> dict[str, int]:
        """Every port by the variable that sets it."""
        fields = [name for name in type(self).model_fields if name.endswith("_port")]
        return {PREFIX + name.upper(): getattr(self, name) for name in fields}

    @field_validator("local_dir")
    @classmethod
    def _make_absolute(cls, folder: Path) -> Path:
        """The servers run in other directories than whoever started them."""
        return folder.expanduser().absolute()

    @model_validator(mode="after")
    def _refuse_shared_ports(self) -> Self:
        counts = Counter(self.ports().values())
        shared = [f"{variable}={port}" for variable, port in self.ports().items() if counts[port] > 1]
        if shared:
            raise ValueError(f"the same port is given twice: {', '.join(shared)}")
        return self
