"""Runs the command `brainnet` as `python -m brainnet`."""

import sys

from brainnet.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
