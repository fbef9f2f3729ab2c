"""Wrap Dask's scheduler, worker and client in a few functions; no other part of the package imports Dask."""
