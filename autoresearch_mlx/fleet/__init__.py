"""Measure with several machines: a coordinator with the ledger, machines that take its jobs, Dask between them."""
