"""The API under the load of many leaders, each with a live stream, while the engine publishes.

`leaders.py` is what a leader does (Locust), `swarm.py` the process that all of them live in, `crowd.py` whoever starts
and asks it. `run.py` is the benchmark: a month of signals beside 200 leaders, then more of them in steps.
"""
