"""What operators watch the system with: Prometheus and its alerts, Grafana's dashboards, the collector of spans."""
