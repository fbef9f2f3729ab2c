"""Train the edited script for a fixed budget, then score its weights: the target ``pretrain``."""
