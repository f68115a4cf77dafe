"""The lock file of the benchmarks' peers: it pins what runs, and nothing that must not."""

from benchmarks.connect_jars import DEBEZIUM_VERSION, LOCK_FILE, WITHOUT
from deploy.local.jars import KAFKA_VERSION, pinned


def test_every_file_is_pinned_once() -> None:
    jars = pinned(LOCK_FILE)
    assert all(len(jar.sha256) == 64 for jar in jars)
    assert len({jar.file_name for jar in jars}) == len(jars)
    assert len({(jar.group, jar.artifact) for jar in jars}) == len(jars)


def test_connect_is_of_the_brokers_version_and_the_connectors_of_one() -> None:
    jars = pinned(LOCK_FILE)
    assert {jar.version for jar in jars if jar.group == "org.apache.kafka"} == {KAFKA_VERSION}
    assert {jar.version for jar in jars if jar.group == "io.debezium"} == {DEBEZIUM_VERSION}


def test_hibernate_is_the_one_that_resolves_and_no_other_drivers_come_along() -> None:
    jars = pinned(LOCK_FILE)
    assert not {f"{jar.group}:{jar.artifact}" for jar in jars} & set(WITHOUT)
    versions = {jar.artifact: jar.version for jar in jars if jar.group == "org.hibernate.orm"}
    assert versions == {"hibernate-core": "7.2.6.Final", "hibernate-agroal": "7.2.0.Final"}


def test_a_file_of_both_lock_files_is_the_same_file() -> None:
    """They share a cache, by file name."""
    brokers = {jar.file_name: jar.sha256 for jar in pinned()}
    for jar in pinned(LOCK_FILE):
        assert brokers.get(jar.file_name, jar.sha256) == jar.sha256
