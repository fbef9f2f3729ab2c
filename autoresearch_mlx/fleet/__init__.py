"""Measure with several machines: a coordinator keeps the ledger and sends jobs to the others through Dask."""
