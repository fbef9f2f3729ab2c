"""Targets, which are what is optimised: ``pretrain`` (train_mlx.py on MLX), ``command`` (a program with a number)."""
