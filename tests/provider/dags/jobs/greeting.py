"""What a job runs from the code that travelled with it."""

import json
import os
import sys
from pathlib import Path

import words

sys.stdout.write(f"{words.GREETING}\n")
Path(os.environ["HEADNODE_RESULT"]).write_text(json.dumps({"greeting": words.GREETING, "arguments": sys.argv[1:]}))
