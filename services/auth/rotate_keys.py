"""Signing keys by hand: ``python -m services.auth.rotate_keys``, beside the schedule that the service keeps by itself.

The next key is published at once and signs after every verifier has read it: nobody notices. Two more kinds:

    --compromised  The present keys have leaked: tokens signed with them are refused from now on. Everybody's next
                   refresh gives a good one; the gateway may refuse those for as long as it caches the public keys.
    --encryption   Encrypt the private keys anew, with the present COMPASS_KEY_ENCRYPTION_KEY. To replace that one
                   without a pause: give all instances the next as COMPASS_OTHER_KEY_ENCRYPTION_KEY; exchange the two;
                   run this; take the other away.
"""

import argparse
from datetime import UTC, datetime

from services.auth import service_keys
from services.auth.keys import KeyDecryptionError
from services.auth.service_tools import Tools
from services.auth.settings import AuthSettings
from shared import commands
from shared.db import SessionMaker
from shared.settings import load


def main(arguments: list[str] | None = None) -> int:
    """Says what was done; answers the exit status, 1 where the keys from the environment do not fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--compromised", action="store_true")
    kind.add_argument("--encryption", action="store_true")
    chosen = parser.parse_args(arguments)
    settings = load(AuthSettings)
    change = _encrypt_anew if chosen.encryption else _replace if chosen.compromised else _rotate

    async def work() -> int:
        async with commands.database(settings, "auth") as maker:
            try:
                commands.tell(await change(maker, Tools.make(settings)))
            except KeyDecryptionError as error:
                commands.say(f"COMPASS_OTHER_KEY_ENCRYPTION_KEY: {error}")
                return 1
        return 0

    return commands.run(work())


async def _rotate(maker: SessionMaker, tools: Tools) -> str:
    async with maker() as session, session.begin():
        signs_from, was_made = await service_keys.rotate(session, tools, datetime.now(UTC))
    how = "published the next key" if was_made else "the next key is published already"
    return f"{how}; it signs from {signs_from.isoformat(timespec='seconds')}"


async def _replace(maker: SessionMaker, tools: Tools) -> str:
    async with maker() as session, session.begin():
        await service_keys.replace_compromised(session, tools, datetime.now(UTC))
    return "made a new key, which signs from now on; tokens signed with any other are refused"


async def _encrypt_anew(maker: SessionMaker, tools: Tools) -> str:
    async with maker() as session, session.begin():
        count = await service_keys.encrypt_anew(session, tools.keys)
    return f"encrypted {count} keys anew"


if __name__ == "__main__":
    raise SystemExit(main())
