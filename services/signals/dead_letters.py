"""Command: messages that this service could not process. See `shared.dead_letters_command`.

    python -m services.signals.dead_letters list|show|replay ...

Reads the configuration of the service, which has to run: it relays what is replayed.
"""

from services.signals.settings import SignalsSettings
from shared.dead_letters_command import main

if __name__ == "__main__":
    raise SystemExit(main("signals", SignalsSettings))
