"""The client: ``python run_client.py ADDRESS [ALGORITHM]`` or ``python run_client.py ADDRESS VERB …``."""

import sys

from hpgreedy.client.main import main

if __name__ == "__main__":
    sys.exit(main())
