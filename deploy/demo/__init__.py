"""A small stand-in for the upstream analytics engine: monthly figures in, signals on Kafka out.

    source (csv_source, generated)  ->  Figures  ->  peers  ->  signals  ->  publish

`load` makes signals without any figures behind them, for benchmarks.
"""
