"""Count the overlapping intervals of a JSON list on standard input: the program for measure_command.py."""

import json
import sys

from overlaps import overlaps

print(overlaps(json.load(sys.stdin)))
