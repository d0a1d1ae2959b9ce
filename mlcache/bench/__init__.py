"""``mlcache bench``: backends and policies compared on known workloads, a recorded trace or your function.

`workloads.py` and `functions.py` say what is asked for, `replay.py` and `processes.py` ask it,
`runner.py` takes turns; `document.py` is what comes of it, and the rest tells it to people.
"""
