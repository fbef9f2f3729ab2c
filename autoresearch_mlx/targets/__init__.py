"""What can be optimised: ``pretrain`` (train_mlx.py on MLX) and ``command`` (any program that prints a number)."""
