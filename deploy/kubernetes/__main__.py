"""Commands around the manifests.

``python -m deploy.kubernetes render production`` prints an overlay; ``topics`` writes the Strimzi resources anew, with
``--check`` it fails where they differ from shared/events/topics.py; ``alerts`` does so with the rules of
deploy/observability; ``secrets`` prints random ones for the dev overlay,
for ``kubectl create -f -``; ``deploy dev`` brings an overlay up, or to a new release, in its order.
"""

import argparse
import subprocess
import sys

import yaml

from deploy.kubernetes import alerts, rendering, rollout, secrets, topics
from deploy.kubernetes.places import ALERTS_FILE, OVERLAYS, TOPICS_FILE
from shared.generated import write_or_check


def main() -> int:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description="Kubernetes manifests of Quality Compass.")
    commands = parser.add_subparsers(required=True, dest="command")
    for name, says in (("render", "print the manifests of an overlay"), ("deploy", "apply an overlay in its order")):
        commands.add_parser(name, help=says).add_argument("overlay", choices=OVERLAYS)
    for name, source in (("topics", "the code"), ("alerts", "deploy/observability")):
        made = commands.add_parser(name, help=f"write the production overlay's {name} from {source}")
        made.add_argument("--check", action="store_true", help="compare instead of writing")
    commands.add_parser("secrets", help="print random secrets for the dev overlay")
    arguments = parser.parse_args()
    try:
        return _run(arguments)
    except (rendering.NoRendererError, rollout.RolloutError) as error:
        print(error, file=sys.stderr)
    except subprocess.CalledProcessError as error:
        print(error.stderr, file=sys.stderr)
    return 1


def _run(arguments: argparse.Namespace) -> int:
    match arguments.command:
        case "topics":
            return write_or_check(TOPICS_FILE, topics.render(), check=arguments.check)
        case "alerts":
            return write_or_check(ALERTS_FILE, alerts.render(), check=arguments.check)
        case "secrets":
            print(yaml.safe_dump_all(secrets.make(), sort_keys=False), end="")
        case "render":
            print(rendering.render(arguments.overlay), end="")
        case "deploy":
            rollout.deploy(arguments.overlay)
    return 0


if __name__ == "__main__":
    sys.exit(main())
