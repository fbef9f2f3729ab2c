"""The scaled residual stream and its RMSNorm."""
