"""The typed Python client, made from the committed API document: `make client`.

It is not committed. What it was made from is remembered beside it, so that making it again does nothing while neither
the document nor the generator has changed. Nothing is fetched.
"""

import fcntl
import hashlib
import importlib.metadata
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

PACKAGE: Final = "compass_client"
ROOT: Final = Path(__file__).parents[2]
DOCUMENT: Final = ROOT / "docs" / "openapi.json"
BUILD: Final = ROOT / "build"

_GENERATOR: Final = "openapi-python-client"
_CONFIGURATION: Final = f"""\
project_name_override: {PACKAGE}
package_name_override: {PACKAGE}
literal_enums: true
post_hooks: []
"""


def make(folder: Path = BUILD) -> Path:
    """Make the package in this folder, whole or not at all; answers where it is.

    Raises:
        subprocess.CalledProcessError: the generator cannot make a client of the document; its output says why.
    """
    package = folder / PACKAGE
    stamp = package / ".made-from"
    made_from = _fingerprint()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{PACKAGE}.lock").open("w") as lock, tempfile.TemporaryDirectory(dir=folder) as place:
        # Test workers need it at the same moment: one makes it, the others wait and find it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == made_from:
            return package
        configuration = Path(place) / "configuration.yaml"
        configuration.write_text(_CONFIGURATION)
        made = Path(place) / PACKAGE
        command = [str(Path(sys.executable).with_name(_GENERATOR)), "generate", "--path", str(DOCUMENT)]
        command += ["--config", str(configuration), "--meta", "none", "--output-path", str(made), "--fail-on-warning"]
        subprocess.run(command, check=True, capture_output=True, text=True)
        (made / ".made-from").write_text(made_from)
        shutil.rmtree(package, ignore_errors=True)
        made.rename(package)
    return package


def _fingerprint() -> str:
    version = importlib.metadata.version(_GENERATOR)
    return hashlib.sha256(f"{version}\n{_CONFIGURATION}".encode() + DOCUMENT.read_bytes()).hexdigest()
