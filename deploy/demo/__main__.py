"""`python -m deploy.demo`: compute signals from monthly figures and publish them.

Ends with 0 when all went out, or there was nothing to compute yet; 2 for input that cannot be used; 1 when Kafka does
not take the signals.
"""

import argparse
import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from deploy.demo.errors import InputError
from deploy.demo.months import month_from_text
from deploy.demo.outgoing import Batch, Outgoing, from_csv, from_generated, from_json_lines, from_load
from deploy.demo.publish import PublishError, Sent, publish, write
from deploy.demo.summary import Summary

_JSON_LINES = (".jsonl", ".ndjson")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    options = _parse(arguments)
    # What the client logs while it tries is in the one line that a failure ends with.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        return _run(options)
    except (InputError, PublishError) as error:
        print(f"demo engine: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    except KeyboardInterrupt:
        print("demo engine: stopped", file=sys.stderr)
        return 130


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.demo", description="Compute signals from monthly figures and publish them."
    )
    parser.add_argument(
        "--data", type=Path, metavar="FILE",
        help="a CSV of monthly figures, or signals as JSON Lines (.jsonl, .ndjson); without it figures are generated",
    )  # fmt: skip
    parser.add_argument("--mapping", type=Path, metavar="FILE", help="which columns of the CSV are what (TOML)")
    parser.add_argument("--as-of", type=_month, metavar="YYYY-MM", help="publish what was known after this month")
    parser.add_argument("--seed", type=int, help="of generated figures and load (1): a seed gives the same bytes")
    parser.add_argument(
        "--count", type=_count, metavar="N", help="generate load: N signals of different entities, 1.4 KB each"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--output", type=Path, metavar="FILE", help="write JSON Lines to a file instead of publishing")
    where.add_argument("--dry-run", action="store_true", help="compute and count, but publish nothing")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    options = parser.parse_args(arguments)
    if problem := _contradiction(options):
        parser.error(problem)
    return options


def _month(text: str) -> int:
    try:
        return month_from_text(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 1 or more")
    return int(text)


def _contradiction(options: argparse.Namespace) -> str | None:
    from_json = options.data is not None and options.data.suffix in _JSON_LINES
    if options.data is not None and (options.count is not None or options.seed is not None):
        return "--data cannot be combined with --count or --seed, which are about generated signals"
    if options.mapping is not None and (options.data is None or from_json):
        return "--mapping needs --data with a CSV file"
    if options.as_of is not None and from_json:
        return "--as-of cannot be combined with JSON Lines, which are published as they stand"
    return None


def _run(options: argparse.Namespace) -> int:
    started = time.monotonic()
    batch = _batch(options)
    bootstrap_servers = os.environ.get("COMPASS_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:19092")
    if options.dry_run:
        summary = Summary(batch, "computed, none published (dry run)", is_published=False)
    elif options.output:
        summary = Summary(batch, f"written to {options.output}", is_published=False)
    else:
        summary = Summary(batch, f"published to Kafka at {bootstrap_servers}", is_published=True)
    with _progress(batch.total, summary) as sent:
        if options.output:
            write(batch.messages, options.output, sent)
        elif options.dry_run:
            for message in batch.messages:
                sent(message)
        elif batch.total:
            asyncio.run(publish(batch.messages, bootstrap_servers, sent))
    summary.seconds = time.monotonic() - started
    if options.json:
        print(json.dumps(summary.as_json()))
    else:
        summary.show(Console())
    return 0


def _batch(options: argparse.Namespace) -> Batch:
    seed = 1 if options.seed is None else options.seed
    if options.count is not None:
        return from_load(options.count, seed, options.as_of)
    if options.data is None:
        return from_generated(seed, options.as_of)
    if options.data.suffix in _JSON_LINES:
        return from_json_lines(options.data)
    return from_csv(options.data, options.mapping, options.as_of)


@contextmanager
def _progress(total: int, summary: Summary) -> Iterator[Sent]:
    """Counts each message, with a bar on standard error where that is a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield summary.count
        return
    columns = (TextColumn("signals"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("signals", total=total)

        def sent(message: Outgoing) -> None:
            summary.count(message)
            # Once per message would cost more than the message.
            if summary.signals % 500 == 0 or summary.signals == total:
                progress.update(task, completed=summary.signals)

        yield sent


if __name__ == "__main__":
    sys.exit(main())
