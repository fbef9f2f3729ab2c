"""Do the work before and after a night: new labs, the checks of `doctor`, calibration, the plan and archives."""
