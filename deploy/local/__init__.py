"""The embedded stack: real PostgreSQL, Kafka and Envoy from packages, and the services, on one machine without Docker.

`python -m deploy.local` runs all of it in front. `postgres.EmbeddedPostgres` and `kafka.EmbeddedKafka` stand alone,
so that tests and benchmarks can use one server without the rest.
"""
