"""Before and after a night: a new lab, the checks of doctor, calibration, the plan, archives."""
