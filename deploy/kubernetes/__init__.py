"""Kubernetes: the Kustomize base and overlays, and what is made for them or done with them by command."""
