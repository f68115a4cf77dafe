"""What is made of the route table and of the services' own descriptions.

``python -m deploy.gateway render --target local`` prints the Envoy configuration, ``python -m deploy.gateway openapi
docs/openapi.json`` writes the merged OpenAPI document; with ``--check`` it fails where the file differs from the code.
``python -m deploy.gateway client`` makes the typed Python client below ``build``.
"""

import argparse
import json
import sys
from pathlib import Path

from deploy.gateway import client
from deploy.gateway.envoy import render_local
from deploy.local.settings import LocalSettings
from shared.generated import write_or_check
from shared.settings import load


def main() -> int:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description="The gateway's configuration and its API document.")
    commands = parser.add_subparsers(required=True, dest="command")
    render = commands.add_parser("render", help="print the Envoy configuration as JSON")
    render.add_argument("--target", choices=["local"], default="local")
    openapi = commands.add_parser("openapi", help="write the merged OpenAPI document")
    openapi.add_argument("file", type=Path)
    openapi.add_argument("--check", action="store_true", help="compare instead of writing")
    commands.add_parser("client", help="make the Python client from the OpenAPI document")
    arguments = parser.parse_args()
    if arguments.command == "client":
        print(client.make())
        return 0
    if arguments.command == "openapi":
        from deploy.gateway.openapi import render as merged  # Builds all services; printing routes needs none of them.

        return write_or_check(arguments.file, merged(), check=arguments.check)
    print(json.dumps(render_local(load(LocalSettings)), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
