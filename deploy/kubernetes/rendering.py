"""Rendering an overlay: with the machine's kustomize or kubectl, or with one built from its pinned Go module."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from deploy.kubernetes.places import HERE

MODULE: Final = "sigs.k8s.io/kustomize/kustomize/v5@v5.7.1"
"""Go's checksum database knows what this version is made of. Any kustomize from 5.4 on renders the same."""

_TOOLS: Final = HERE.parents[1] / "build" / "kustomize"
_BUILD_SECONDS: Final = 150


class NoRendererError(Exception):
    """There is no kustomize, no kubectl, and no Go to build one with; the message says what was tried."""


@cache
def renderer() -> tuple[str, ...]:
    """The command line that takes a folder and prints its manifests.

    Raises:
        NoRendererError: it cannot be had here.
    """
    built = _TOOLS / "kustomize"
    if built.exists():
        return (str(built), "build")
    if kustomize := shutil.which("kustomize"):
        return (kustomize, "build")
    if kubectl := shutil.which("kubectl"):
        return (kubectl, "kustomize")
    _build(_TOOLS)
    return (str(built), "build")


def render(overlay: str) -> str:
    """All manifests of an overlay, as YAML."""
    folder = HERE / "overlays" / overlay
    done = subprocess.run([*renderer(), str(folder)], check=True, capture_output=True, text=True)
    return done.stdout


def manifests(overlay: str) -> list[dict[str, Any]]:
    """The same, read."""
    return [document for document in yaml.safe_load_all(render(overlay)) if document]


def _build(folder: Path) -> None:
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if go is None:
        raise NoRendererError(f"needs kustomize, kubectl, or Go to build {MODULE}")
    environment = {**os.environ, "GOBIN": str(folder), "GOFLAGS": ""}
    try:
        subprocess.run(
            [go, "install", MODULE], env=environment, check=True, capture_output=True, text=True, timeout=_BUILD_SECONDS
        )
    except subprocess.CalledProcessError as error:
        raise NoRendererError(f"{MODULE} cannot be built: {error.stderr.strip().splitlines()[-1:]}") from error
    except subprocess.TimeoutExpired as error:
        raise NoRendererError(f"{MODULE} was not built within {_BUILD_SECONDS} s") from error
