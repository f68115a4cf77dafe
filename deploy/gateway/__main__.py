"""``python -m deploy.gateway render --target local`` prints the Envoy configuration."""

import argparse
import json

from deploy.gateway.envoy import render_local
from deploy.local.settings import LocalSettings
from shared.settings import load


def main() -> None:
    """Print the configuration for a way of running."""
    parser = argparse.ArgumentParser(description="The gateway's configuration.")
    commands = parser.add_subparsers(required=True)
    render = commands.add_parser("render", help="print the Envoy configuration as JSON")
    render.add_argument("--target", choices=["local"], default="local")
    parser.parse_args()
    print(json.dumps(render_local(load(LocalSettings)), indent=1))


if __name__ == "__main__":
    main()
