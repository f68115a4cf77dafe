"""The image and deploy/compose.yaml on a real Docker Engine; run by `make compose-test`, left out otherwise."""
