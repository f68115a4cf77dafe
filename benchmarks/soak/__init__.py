"""Hours of mixed load, and whether anything grows that has no reason to: `make soak MINUTES=60`.

`sampling.py` looks at processes, tables and metrics every few seconds, `verdict.py` judges what it saw, `limits.py`
says by what and why, `run.py` has the engine, leaders and streams at work meanwhile.
"""
