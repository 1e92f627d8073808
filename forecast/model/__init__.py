"""The model: network, forecaster (one physical step), normaliser, inputs, limiter, package.

May import `data_prep.store`; nothing else of `forecast`.
"""
