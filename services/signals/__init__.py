"""Stores and classifies the quality signals of the analytics engine, and serves them."""
