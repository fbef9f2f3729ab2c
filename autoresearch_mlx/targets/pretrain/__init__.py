"""The target ``pretrain``: train the edited script for a fixed budget, then score its weights."""
