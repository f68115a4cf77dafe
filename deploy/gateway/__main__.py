"""What is made of the route table and of the services' own descriptions.

``python -m deploy.gateway render --target local`` prints the Envoy configuration, with ``--output`` into a file;
``python -m deploy.gateway openapi docs/openapi.json`` writes the merged OpenAPI document, and with ``--check`` fails
where the file differs from the code.
``python -m deploy.gateway client`` makes the typed Python client below ``build``.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from deploy.gateway.envoy import render_containers, render_local
from shared.generated import write_or_check
from shared.settings import load

# What only one of the commands needs is imported there: the image that prints routes has no more than they need.


def main() -> int:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description="The gateway's configuration and its API document.")
    commands = parser.add_subparsers(required=True, dest="command")
    render = commands.add_parser("render", help="print the Envoy configuration as JSON")
    render.add_argument("--target", choices=["local", "containers"], default="local")
    render.add_argument("--output", type=Path, metavar="FILE", help="write it there, at once and whole")
    openapi = commands.add_parser("openapi", help="write the merged OpenAPI document")
    openapi.add_argument("file", type=Path)
    openapi.add_argument("--check", action="store_true", help="compare instead of writing")
    commands.add_parser("client", help="make the Python client from the OpenAPI document")
    arguments = parser.parse_args()
    if arguments.command == "client":
        from deploy.gateway import client

        print(client.make())
        return 0
    if arguments.command == "openapi":
        from deploy.gateway.openapi import render as merged  # Builds all services; printing routes needs none of them.

        return write_or_check(arguments.file, merged(), check=arguments.check)
    configuration = json.dumps(_configuration(arguments.target), indent=1)
    if arguments.output is None:
        print(configuration)
    else:
        unfinished = arguments.output.with_suffix(".new")
        unfinished.write_text(configuration)
        unfinished.replace(arguments.output)
    return 0


def _configuration(target: str) -> dict[str, Any]:
    if target == "containers":
        return render_containers()
    from deploy.local.settings import LocalSettings

    return render_local(load(LocalSettings))


if __name__ == "__main__":
    sys.exit(main())
