"""Trainings and predictions on a machine that has only Python, torch and NumPy.

`pack` puts all that they need into one file, with the package itself; ``python FILE`` trains and
predicts there (`start`, `run`) by the functions that the workflow's scripts call, and packs what
comes of it (`results`); `unpack` puts that where the workflow would have made it. `records` packs
and places what is published of trainings: all that tables are made of, without maps and models.
"""
