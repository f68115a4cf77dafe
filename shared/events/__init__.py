"""The contracts: all that one service knows of another, and what the upstream engine publishes."""
