"""`make check`'s look at the migrations: on an empty database they lead to exactly what the models say."""

import tempfile
from pathlib import Path

from deploy.local.jobs import alembic, migrate
from deploy.local.ports import free_port
from deploy.local.postgres import EmbeddedPostgres
from deploy.local.postgres_place import remove_place
from deploy.local.secrets import SERVICES


def check_migrations() -> None:
    """Run every history on a database made for it and ask Alembic for differences; StackError where it finds some."""
    with tempfile.TemporaryDirectory(prefix="compass-migrations-") as folder:
        state_dir = Path(folder)
        # Under root the database server runs as another user, who has to get through to its data.
        state_dir.chmod(0o711)
        log = state_dir / "logs" / "alembic.log"
        server = EmbeddedPostgres(state_dir, free_port(), durable=False)
        try:
            server.start()
            migrate(server, log)
            for service in SERVICES:
                alembic(service, server.owner_url(service), log, "check")
        finally:
            server.stop()
            remove_place(state_dir)
    print(f"migrations: {', '.join(SERVICES)} lead to their models")
