"""Earlier states of this repository as releases whose code can be run."""

import shutil
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from deploy.local.processes import PROJECT_ROOT

MIGRATIONS = ":(glob)services/*/migrations/versions/*.py"


def git(*arguments: str) -> str:
    """What a git command answers; a failure is the test's."""
    return _git(*arguments).decode().strip()


def before_the_newest_migration() -> str:
    """The last commit whose schema is older than the present one, which may not be committed yet."""
    if git("status", "--porcelain", "--", MIGRATIONS):
        return git("rev-parse", "HEAD")
    newest = git("log", "-1", "--format=%H", "--", MIGRATIONS)
    return git("rev-parse", f"{present(newest)}^")


def export(revision: str, folder: Path) -> Path:
    """Write the files of a commit into the folder."""
    with tarfile.open(fileobj=BytesIO(_git("archive", present(revision)))) as archive:
        archive.extractall(folder, filter="data")
    return folder


def migrations(revision: str) -> set[str]:
    """The paths of a commit's migrations."""
    paths = git("ls-tree", "-r", "--name-only", present(revision), "services").splitlines()
    return {path for path in paths if "/migrations/versions/" in path and not path.endswith("__init__.py")}


def present(revision: str) -> str:
    """The revision, if this clone has it with its parent; else the test is left out, and says why."""
    _require_history()
    for needed in (revision, f"{revision}^"):
        known = subprocess.run(
            ["git", "rev-parse", "--quiet", "--verify", f"{needed}^{{commit}}"],
            cwd=PROJECT_ROOT,
            capture_output=True,
            check=False,
        )
        if known.returncode != 0:
            pytest.skip(
                f"This clone does not have the commit {needed}, whose code is to be run on the present schema: "
                "get the whole history (git fetch --unshallow)."
            )
    return revision


def _require_history() -> None:
    if shutil.which("git") is None or not (PROJECT_ROOT / ".git").exists():
        pytest.skip("Earlier releases are run from the repository's history: this is no clone, or there is no git.")


def _git(*arguments: str) -> bytes:
    _require_history()
    try:
        ran = subprocess.run(["git", *arguments], cwd=PROJECT_ROOT, capture_output=True, check=True)
    except subprocess.CalledProcessError as error:
        pytest.fail(f"git {' '.join(arguments)}: {error.stderr.decode().strip()}", pytrace=False)
    return ran.stdout
