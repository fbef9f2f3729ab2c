"""Make a function of a training step faster: profile the step, take the function out, search for a faster version."""
