"""What the activity service takes from the auth service's events: what users are called, and since when."""

from typing import Final

from services.activity.repository_users import Name
from shared.events import auth, envelope
from shared.inbox import Message

_EVENTS: Final = {
    event.name: event for event in (auth.USER_CREATED, auth.USER_UPDATED, auth.USER_DEACTIVATED, auth.USER_SNAPSHOT)
}


def read(message: Message) -> Name | None:
    """The name that an event tells, None for an event about something else.

    Raises:
        RejectedMessageError: for a message that is no event, or a user event that this version cannot read.
    """
    event = envelope.decode(message.value)
    if envelope.choose(event.type, _EVENTS) is None:
        return None
    user = event.data_as(auth.UserChanged).user
    return Name(user.user_id, event.sequence, user.name, event.time)
