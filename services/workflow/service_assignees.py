"""Who can be assigned, and in which role. Pure rules."""

from typing import Final, NamedTuple

from services.workflow.models import KnownUser
from shared.errors import FieldProblem, InvalidError
from shared.events.vocabulary import RoleType, UserRole


class Refusal(NamedTuple):
    """Why somebody cannot be assigned, and which field of a request that says."""

    field: str
    code: str
    detail: str


_UNKNOWN: Final = Refusal("assignee_id", "assignee_unknown", "No user of this id is known.")


def refusal(user: KnownUser | None, role_type: RoleType) -> Refusal | None:
    """Why this user cannot be assigned in this role; None where nothing speaks against it."""
    return _UNKNOWN if user is None else _refusal(user, role_type)


def check_assignable(user: KnownUser | None, role_type: RoleType, pointer: str = "/body") -> KnownUser:
    """The user, where they can be assigned in this role; ``pointer`` is where the request names them.

    Raises:
        InvalidError: with the code of the refusal.
    """
    if user is None:
        raise _invalid(_UNKNOWN, pointer)
    if refused := _refusal(user, role_type):
        raise _invalid(refused, pointer)
    return user


def _refusal(user: KnownUser, role_type: RoleType) -> Refusal | None:
    if not user.is_active:
        return Refusal("assignee_id", "assignee_inactive", f"The account of {user.name} is not active.")
    if user.role is UserRole.VIEWER:
        return Refusal("assignee_id", "assignee_is_viewer", f"{user.name} is a viewer and cannot be assigned.")
    if user.role is not UserRole.ADMIN and user.role.value != role_type.value:
        return Refusal("role_type", "role_type_mismatch", f"{user.name} has the role {user.role}.")
    return None


def _invalid(refused: Refusal, pointer: str) -> InvalidError:
    errors = [FieldProblem(pointer=f"{pointer}/{refused.field}", detail=refused.detail)]
    return InvalidError(refused.detail, refused.code, errors=errors)
