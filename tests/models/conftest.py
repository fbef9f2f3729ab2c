"""The synthetic landscapes and the loop's rule stand once, in ``bench``; these tests use them from there."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
