"""What a service must know to accept or refuse an access token."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class AccessState:
    """Keys by id, and who is refused although the token is good.

    ``revoked_users`` maps a user to the moment before which issued tokens are refused.
    """

    keys: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    revoked_sessions: frozenset[UUID] = frozenset()
    revoked_users: Mapping[UUID, datetime] = field(default_factory=dict)
    inactive_users: frozenset[UUID] = frozenset()
