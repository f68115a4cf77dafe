"""`python -m deploy.demo` from the outside: its inputs, its outputs and its exit status."""

import dataclasses
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy import topics as topic_job
from deploy.demo.__main__ import main
from deploy.demo.outgoing import Outgoing, from_generated, from_json_lines, from_load
from deploy.demo.publish import PublishError, publish
from deploy.local.kafka import EmbeddedKafka
from deploy.local.ports import free_port
from services.signals.classification import ClassificationSettings, classify
from shared.events.engine import EngineSignal, dimensions_hash, entity_id
from shared.events.topics import ENGINE_SIGNALS
from shared.events.vocabulary import MetricPolarity, SignalDomain, SignalType
from tests.deploy.test_demo_signals import figures_of


def summary_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == 0
    summary: dict[str, Any] = json.loads(capsys.readouterr().out)
    return summary


def written(path: Path, *arguments: str) -> bytes:
    assert main([*arguments, "--output", str(path)]) == 0
    return path.read_bytes()


def signals_in(lines: bytes) -> list[EngineSignal]:
    return [msgspec.json.decode(line, type=EngineSignal) for line in lines.splitlines()]


def entity_of(signal: EngineSignal) -> object:
    dimensions = dimensions_hash(signal.entity_dimensions)
    return entity_id(signal.canonical_node_id, signal.metric_id, signal.facility_id, dimensions)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return written(tmp_path_factory.mktemp("demo") / "generated.jsonl")


def test_a_seed_gives_the_same_bytes(generated: bytes, tmp_path: Path) -> None:
    assert written(tmp_path / "again.jsonl", "--seed", "1") == generated
    assert written(tmp_path / "other.jsonl", "--seed", "2") != generated


def test_generated_signals_keep_the_contract_and_show_everything(generated: bytes) -> None:
    signals = signals_in(generated)
    assert len({entity_of(signal) for signal in signals}) == len(signals) > 1000
    assert {signal.domain for signal in signals} == set(SignalDomain)
    assert {signal.polarity for signal in signals} == set(MetricPolarity)
    assert len({signal.facility_id for signal in signals}) == 40
    assert len({signal.system_name for signal in signals}) == 6
    assert len({signal.service_line for signal in signals}) == 6
    assert len({signal.metric_id for signal in signals}) == 8
    assert max(len(signal.metric_trend_timeline or ()) for signal in signals) == 24
    assert all(signal.simplified_signal_type is None and signal.simplified_severity is None for signal in signals)
    types = {classify(figures_of(signal), ClassificationSettings()).simplified_signal_type for signal in signals}
    assert types >= set(SignalType) - {SignalType.SUSPECT_DATA}


def test_month_after_month_detects_the_same_entities_again(tmp_path: Path) -> None:
    months = {
        month: signals_in(written(tmp_path / month, "--as-of", month)) for month in ("2025-03", "2025-04", "2025-05")
    }
    severities: dict[object, list[int]] = {}
    for month, signals in months.items():
        assert {signal.detected_at.strftime("%Y-%m-%dT%H:%M%z") for signal in signals} == {
            f"2025-{int(month[-2:]) + 1:02}-01T00:00+0000"
        }
        for signal in signals:
            severity = classify(figures_of(signal), ClassificationSettings()).simplified_severity
            severities.setdefault(entity_of(signal), []).append(severity)
    moves = Counter(
        "up" if later - earlier >= 5 else "down" if later - earlier <= -5 else "same"
        for course in severities.values()
        for earlier, later in pairwise(course)
    )
    assert all(moves[move] > 50 for move in ("up", "down", "same"))


def test_where_nothing_can_be_computed_yet_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--as-of", "2023-08"]) == 0  # nothing is sent, so no broker is needed
    said = capsys.readouterr()
    assert said.out.startswith("Nothing can be computed as of 2023-08 yet: no signals were published.\n  left out\n")
    assert "fewer than 3 usable months" in said.out
    assert said.err == ""


def test_the_summary_for_people_is_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--count", "3", "--dry-run"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("3 signals as of 2025-06 computed, none published (dry run) in ")
    assert "    3  lengthOfStayDays\n" in said.out
    assert said.out.isascii()
    assert said.err == ""


def test_the_summary_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    summary = summary_of(capsys, "--dry-run")
    assert summary["published"] == 0
    assert summary["as_of"] == "2025-06"
    assert summary["signals"] == sum(summary["by_domain"].values()) == sum(summary["by_metric"].values())
    assert summary["signals"] == sum(summary["by_dimensions"].values())
    assert set(summary["left_out"]) == {
        "total of a single part", "no usable figure in the last month", "fewer than 3 usable months",
    }  # fmt: skip


def test_load_is_of_distinct_signals_of_the_right_size() -> None:
    messages = list(from_load(5000, 1, None).messages)
    assert len({entity_of(signal) for message in messages for signal in signals_in(message.value)}) == 5000
    assert 1300 < sum(len(message.value) for message in messages) / 5000 < 1600
    assert len({message.key for message in messages}) == 400


def test_load_of_another_seed_or_month_is_of_the_same_entities() -> None:
    def load(seed: int, as_of: int | None) -> list[EngineSignal]:
        return [signals_in(message.value)[0] for message in from_load(500, seed, as_of).messages]

    first, same, changed, later = load(1, None), load(1, None), load(2, None), load(1, 2025 * 12 + 6)
    assert first == same
    assert first != changed
    assert [entity_of(one) for one in first] == [entity_of(one) for one in changed]
    assert [entity_of(one) for one in first] == [entity_of(one) for one in later]
    assert {one.detected_at for one in changed} == {one.detected_at for one in first}
    assert min(one.detected_at for one in later) > max(one.detected_at for one in first)


def test_json_lines_go_out_as_they_stand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = b'{"facility":"A","domain":"Safety","metric_id":"m","facility_id":"1","note":"kept"}\n\n' + (
        b' {"facility":"B","domain":"Safety","metric_id":"m","entity_dimensions":{"ward":"2"}}\r\n'
    )
    (tmp_path / "signals.jsonl").write_bytes(lines)
    assert list(from_json_lines(tmp_path / "signals.jsonl").messages) == [
        Outgoing("1", lines.splitlines()[0], "Safety", "m", "total"),
        Outgoing("B", lines.splitlines()[2].strip(), "Safety", "m", "ward 2"),
    ]
    summary = summary_of(capsys, "--data", str(tmp_path / "signals.jsonl"), "--dry-run")
    assert (summary["signals"], summary["as_of"]) == (2, None)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", b"", "x.jsonl: there are no signals in the file"),
        ("x.jsonl", b'{"facility":"A","domain":"Safety","metric_id":"m"}\nnonsense\n', "x.jsonl, line 2: no signal: "),
        ("x.ndjson", b'{"facility":"\xff"}', "x.ndjson, line 1: no signal: "),
        ("x.ndjson", b'["facility"]', "x.ndjson, line 1: no signal: "),
        ("x.csv", b"period,org_code,type,attendances,breaches\n2017-01,A,1,5,6\n", "x.csv, line 2, column breaches: "),
    ],
)
def test_bad_input_ends_with_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert main(["--data", str(tmp_path / name), "--dry-run"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"demo engine: {tmp_path}/{message}")
    assert said.err.count("\n") == 1


def test_an_output_that_cannot_be_written_ends_with_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--count", "1", "--output", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"demo engine: {tmp_path}: Is a directory\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--as-of", "2017"], ["--as-of", "2017-13"], ["--count", "0"], ["--count", "x"], ["--seed", "x"],
        ["--data", "x.csv", "--count", "5"], ["--data", "x.csv", "--seed", "5"], ["--mapping", "x.toml"],
        ["--data", "x.jsonl", "--mapping", "x.toml"], ["--data", "x.jsonl", "--as-of", "2017-01"],
        ["--dry-run", "--output", "x"], ["--unknown"],
    ],
)  # fmt: skip
def test_contradictory_options_end_with_status_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2


def test_without_a_broker_it_ends_with_one_line_and_status_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bootstrap_servers = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("COMPASS_KAFKA_BOOTSTRAP_SERVERS", bootstrap_servers)
    assert main(["--count", "1"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"demo engine: Kafka at {bootstrap_servers} (COMPASS_KAFKA_BOOTSTRAP_SERVERS) did not take")
    assert said.count("\n") == 1


async def test_every_message_arrives_once_in_order_per_key(kafka: EmbeddedKafka) -> None:
    await topic_job.apply(kafka.bootstrap_servers)
    ours = "of the demo engine's test "
    messages = [message._replace(key=ours + message.key) for message in from_load(6000, 1, None).messages]
    sent: list[Outgoing] = []

    await publish(messages, kafka.bootstrap_servers, sent.append)

    assert sent == messages
    arrived: dict[str, list[bytes]] = {}
    for key, value in await everything_on_the_topic(kafka.bootstrap_servers):
        if key.startswith(ours):
            arrived.setdefault(key, []).append(value)
    expected: dict[str, list[bytes]] = {}
    for message in messages:
        expected.setdefault(message.key, []).append(message.value)
    assert arrived == expected


async def everything_on_the_topic(bootstrap_servers: str) -> list[tuple[str, bytes]]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = [TopicPartition(ENGINE_SIGNALS.name, number) for number in range(ENGINE_SIGNALS.partitions)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        found: list[tuple[str, bytes]] = []
        while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                found.extend((record.key.decode(), record.value) for record in records if record.key)
        return found
    finally:
        await consumer.stop()


async def test_a_missing_topic_is_named(kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = dataclasses.replace(ENGINE_SIGNALS, name="engine.absent.v1")
    monkeypatch.setattr("deploy.demo.publish.ENGINE_SIGNALS", absent)
    monkeypatch.setattr("deploy.demo.publish._TOPIC_SECONDS", 0.5)
    with pytest.raises(PublishError, match=r"has no topic engine\.absent\.v1: python -m deploy\.topics creates it"):
        await publish(from_generated(1, None).messages, kafka.bootstrap_servers, lambda _: None)
