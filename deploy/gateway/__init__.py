"""The gateway: one route table, and the Envoy configuration that is made from it for every way of running."""
