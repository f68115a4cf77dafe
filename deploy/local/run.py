"""`make run`: the stack in front, signals published into it, and a summary for the person who started it."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any, Self

from aiokafka.errors import KafkaError

from deploy.local.counts import DEMO_PASSWORD, DEMO_USERS, Api, Counts, on_its_way
from deploy.local.errors import StackError
from deploy.local.ports import HOST
from deploy.local.processes import PROJECT_ROOT
from deploy.local.settings import LocalSettings
from deploy.local.stack import LocalStack
from deploy.local.supervisor import Supervisor

ANSWER_SECONDS = 60.0
ARRIVAL_SECONDS = 180.0

_TICK_SECONDS = 0.25


class Stopped(BaseException):
    """Somebody asked the stack to stop. Not an Exception: nothing on the way may take it for a failure."""


@dataclass(frozen=True)
class Published:
    """What the demo engine says that it did."""

    signals: int
    as_of: str | None
    left_out: dict[str, int]


class StopSignals:
    """Turns the first Ctrl-C, SIGTERM or closing of the terminal into Stopped; further ones change nothing."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Under nohup the end of the terminal is to be survived.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def no_more(self) -> None:
        """From now on everything is stopping anyway."""
        self._asked.set()

    def _ask(self, _: int, __: FrameType | None) -> None:
        if not self._asked.is_set():
            self._asked.set()
            _say("stopping everything; the data stays for the next start")
            raise Stopped


def run(settings: LocalSettings, demo_options: Sequence[str]) -> None:
    """Start, publish, report, and stay until Ctrl-C or SIGTERM; then stop everything.

    Raises:
        StackError: what a person has to put right; everything has been stopped again.
    """
    began = time.monotonic()
    stack = LocalStack(settings, say=_say)
    with StopSignals() as signals:
        try:
            stack.start()
            supervisor = stack.supervisor(_say)
            api = Api(stack.gateway_url)
            before = _count_when_answered(api, supervisor)
            published = _publish(stack, supervisor, demo_options)
            after = _wait_for_arrival(stack, api, supervisor, published, before)
            print(summary(settings, published, before, after, time.monotonic() - began), flush=True)
            while True:
                supervisor.tick()
                time.sleep(_TICK_SECONDS)
        except Stopped:
            return
        finally:
            signals.no_more()
            stack.stop()


def _say(line: str) -> None:
    print(f"- {line}", flush=True)


def _publish(stack: LocalStack, supervisor: Supervisor, options: Sequence[str]) -> Published:
    """Run the demo engine with its progress bar on this terminal."""
    engine = subprocess.Popen(
        [sys.executable, "-m", "deploy.demo", *options, "--json"],
        env=stack.service_environment("signals"),
        cwd=PROJECT_ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    try:
        while engine.poll() is None:
            supervisor.tick()
            time.sleep(_TICK_SECONDS)
    finally:
        engine.kill()
        said, _ = engine.communicate()
    if engine.returncode != 0:
        raise StackError("the demo engine could not publish (see above)")
    figures = json.loads(said)
    return Published(signals=figures["published"], as_of=figures["as_of"], left_out=figures["left_out"])


def _count_when_answered(api: Api, supervisor: Supervisor) -> Counts:
    """The first counts: the services learn the key that tokens are signed with a moment after they are ready."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        supervisor.tick()
        try:
            return api.count()
        except StackError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_TICK_SECONDS)


def _wait_for_arrival(
    stack: LocalStack, api: Api, supervisor: Supervisor, published: Published, before: Counts
) -> Counts:
    """Wait until nothing is on its way any more and, in a fresh stack, the counts agree; or until the time is over."""
    deadline = time.monotonic() + ARRIVAL_SECONDS
    while time.monotonic() < deadline:
        supervisor.tick()
        with suppress(StackError, KafkaError, OSError):
            if on_its_way(stack) == 0:
                after = api.count()
                fresh = before.detections == 0 and not after.capped
                if not fresh or after.detections == after.new_signals == published.signals:
                    return after
        time.sleep(_TICK_SECONDS)
    _say(f"not everything arrived within {ARRIVAL_SECONDS:.0f} s: see the logs, and the rejected messages in the feed")
    return api.count()


def summary(settings: LocalSettings, published: Published, before: Counts, after: Counts, seconds: float) -> str:
    """What is printed when the stack runs: address, counts, what was left out, users, what to try."""
    address = f"http://{HOST}:{settings.gateway_port}"
    more = " or more (counted no further)" if after.capped else ""
    stored = after.detections - before.detections
    shown = after.new_signals - before.new_signals
    redetected = after.redetections - before.redetections
    lines = [
        "",
        f"Quality Compass runs at {address} (after {seconds:.0f} s)",
        "",
        f"  published    {published.signals:>7,} signals{f' as of {published.as_of}' if published.as_of else ''}",
        f"  stored       {after.detections:>7,}{more}, {stored:,} of them new now",
        f"  in the feed  {after.new_signals:>7,} new signals, {shown:,} of them new now",
        f"               {after.redetections:>7,} regressions and improvements, {redetected:,} of them new now",
        *(f"  left out     {number:>7,} {reason}" for reason, number in published.left_out.items()),
        "",
        f"Users, password {DEMO_PASSWORD}: {', '.join(DEMO_USERS)}",
        "",
        "Try:",
        f"  TOKEN=$(curl -s {address}/api/auth/login -H 'content-type: application/json' \\",
        f'    -d \'{{"email": "{DEMO_USERS[0]}", "password": "{DEMO_PASSWORD}"}}\' \\',
        "    | python3 -c 'import json, sys; print(json.load(sys.stdin)[\"access_token\"])')",
        f"  curl -s '{address}/api/signals?sort_by=priority&limit=3' -H \"authorization: Bearer $TOKEN\"",
        f"  curl -s '{address}/api/feed?limit=3' -H \"authorization: Bearer $TOKEN\"",
        "",
        f"Logs, one per process: {settings.local_dir / 'logs'}. Ctrl-C stops everything, the data stays.",
    ]
    return "\n".join(lines)
