"""The only part that imports Dask: its scheduler, its worker and its client, each behind a few functions."""
