"""Tests, mirroring the source; `support` holds what they share."""
