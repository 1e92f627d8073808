"""Statistics gathered while a store is written: of single blocks, and merged in the order of time.

The statistics of a block depend on its fields only, and they are merged in one order. A store is
therefore the same for any number of processes and after any interruption.
"""
