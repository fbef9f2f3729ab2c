"""Let these tests import the synthetic landscapes and the simulated loop from ``bench``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
