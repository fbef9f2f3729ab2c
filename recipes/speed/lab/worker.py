"""Call a function, given by a file and a name on the command line, with the arguments that each line of input gives.

The function runs in this process and the other process takes its time, so the edited file has no clock to change.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path


def serve(file, name):
    """Answer each line, a JSON list of arguments, with a line that has the result."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keeps the function's output out of the answers
    sys.path.insert(0, str(Path(file).resolve().parent))
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function = getattr(module, name)
    for line in sys.stdin:
        answers.write(json.dumps(function(*json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2])
