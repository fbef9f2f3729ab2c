"""Measure with several machines: a coordinator keeps the ledger and sends jobs to the other machines through Dask."""
