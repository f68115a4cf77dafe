"""Ways of running the services: the embedded stack, the gateway, roles and schemas, topics, the demo engine."""
