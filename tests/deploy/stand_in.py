"""Stands in for a service where a test is about the processes and not about what they do: ready while it runs."""

import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class _Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep the log for what the tests write into it."""


def main() -> None:
    """Serve on the port that the environment names for the service given as the argument."""
    port = int(os.environ[f"COMPASS_{sys.argv[1].upper()}_PORT"])
    HTTPServer(("127.0.0.1", port), _Ready).serve_forever()


if __name__ == "__main__":
    main()
