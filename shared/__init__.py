"""What at least two services use: configuration, database, Kafka, authentication and the event contracts."""
