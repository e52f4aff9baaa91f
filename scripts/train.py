"""`brainnet train` as a file, for debuggers and job schedulers that want one."""

import sys

from brainnet.cli.main import main

if __name__ == "__main__":
    # sys.argv stays as it is: Lightning's launcher runs this file again with the same words.
    sys.exit(main(["train", *sys.argv[1:]]))
