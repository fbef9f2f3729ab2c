"""One measurement: the process that trains, the process that evaluates, and the parent that watches both."""
