"""Define what is optimised: ``pretrain`` (train_mlx.py on MLX), or ``command`` (a program that prints a number)."""
