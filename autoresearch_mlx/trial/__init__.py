"""Make one measurement: one process trains, other processes score the weights, and the parent watches all of them."""
