"""Do the work before and after a night: a new lab, doctor's checks, calibration, the plan, archives."""
