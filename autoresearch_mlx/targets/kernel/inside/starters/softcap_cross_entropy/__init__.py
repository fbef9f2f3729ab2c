"""The cross-entropy of logits under a soft cap."""
