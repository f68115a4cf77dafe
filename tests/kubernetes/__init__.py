"""The manifests of deploy/kubernetes: rendered and judged here; run on a cluster by `make kubernetes-test`."""
