"""The one kind of failure that the embedded stack shows to a person instead of a traceback."""


class StackError(Exception):
    """Something a person has to put right; the message says what and how, and is all that is printed."""


def missing_wheel(package: str) -> StackError:
    """What to say where `package` has no wheel for this platform and the embedded stack therefore cannot run."""
    return StackError(
        f"the package {package} is not installed: it has no wheel for this platform. "
        "Run the stack with Docker instead: docker compose -f deploy/compose.yaml up"
    )
