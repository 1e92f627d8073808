"""Parts that all solvers share: time step, truncation, plan, threads, writing to a store.

It may import `data_prep.store`.
"""
