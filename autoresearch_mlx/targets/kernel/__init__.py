"""Make a function of a training step faster: profile the step, copy the function into a lab, search for a faster
version."""
