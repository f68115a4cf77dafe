"""The JARs of Kafka Connect and of the connectors that the benchmarks hold ours against, pinned as the broker's are.

`python -m benchmarks.connect_jars` makes `connect-jars.lock` anew (`make lock`). Three things are named that the
connectors would bring by themselves: their hibernate-agroal is given by coordinates that hold nothing, Connect's parts
are of the broker's version, and log4j, to which all of them log, is the broker's as well. Drivers of other databases
are left out.
"""

from pathlib import Path

from deploy.local.jars import KAFKA_VERSION, class_path, pinned, write_lock

DEBEZIUM_VERSION = "3.6.0.Final"

# "!": what belongs to them in the dependency management of Debezium's or Hibernate's parents is not for the others.
ENDPOINT = "+".join(
    [
        f"io.debezium:debezium-connector-jdbc:{DEBEZIUM_VERSION}",
        f"io.debezium:debezium-connector-postgres:{DEBEZIUM_VERSION}!",
        "org.hibernate.orm:hibernate-core:7.2.6.Final",
        "org.hibernate.orm:hibernate-agroal:7.2.0.Final!",
        *(
            f"org.apache.kafka:{part}:{KAFKA_VERSION}"
            for part in ("connect-runtime", "kafka-clients", "connect-api", "connect-json", "connect-transforms")
        ),
        "org.apache.logging.log4j:log4j-slf4j-impl:2.25.5!",
        "org.apache.logging.log4j:log4j-core:2.25.5!",
    ]
)
WITHOUT = (
    "org.hibernate:hibernate-agroal",
    "com.mysql:mysql-connector-j",
    "org.mariadb.jdbc:mariadb-java-client",
    "com.microsoft.sqlserver:mssql-jdbc",
    "com.oracle.database.jdbc:ojdbc11",
)

LOCK_FILE = Path(__file__).with_name("connect-jars.lock")

_HEADER = """\
# The JARs of Kafka Connect with Debezium's connectors: group:artifact:version and SHA-256.
# Made by `python -m benchmarks.connect_jars`.
"""


def connect_class_path() -> str:
    """The class path of a Connect worker; downloads what the cache does not hold."""
    return class_path(pinned(LOCK_FILE), f"Kafka Connect {KAFKA_VERSION} and Debezium {DEBEZIUM_VERSION}")


if __name__ == "__main__":
    write_lock(LOCK_FILE, _HEADER, ENDPOINT, WITHOUT)
