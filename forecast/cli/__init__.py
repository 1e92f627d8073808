"""The command `forecast`: one file per group of commands.

May import all packages.
"""
