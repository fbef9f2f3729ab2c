"""The squared ReLU of an MLP, with its casts."""
