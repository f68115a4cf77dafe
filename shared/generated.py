"""Files that are made from the code and committed: written anew, or compared with what the code says."""

import sys
from pathlib import Path


def write_or_check(file: Path, content: str, *, check: bool) -> int:
    """Write the file; with ``check`` leave it alone and answer 1, with a line that says so, where it differs."""
    if not check:
        file.write_text(content)
        return 0
    if file.exists() and file.read_text() == content:
        return 0
    print(f"{file} is not what the code says: run make generate", file=sys.stderr)  # noqa: T201 - a command's answer
    return 1
