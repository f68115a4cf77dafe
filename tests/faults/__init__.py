"""Faults: a seed decides a load and what goes wrong under it; afterwards all that was promised must be true.

`make faults SEEDS=200` runs seeds one after the other (`SEED=17` one of them), each on a copy of a prepared stack.
From the seed follow what is sent and asked (`load`, `engine`) and which faults come when (`schedule`). Faults are
injected (`injection`) into real processes and into the proxies between them (`proxy`, `stack`). When they have ended,
the harness waits until nothing moves any more (`quiescence`), sends a little more in peace, looks at every log and
table (`tests.support.observation`), and lets the oracles judge: those of any stack at rest (`tests.support.oracles*`)
and those who know what was published and asked for (`oracles*`). `mutations` breaks the product on purpose, to see
that the oracles notice.
"""
