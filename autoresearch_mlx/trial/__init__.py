"""Make one measurement: a process trains, others score the weights, and the parent watches all of them."""
