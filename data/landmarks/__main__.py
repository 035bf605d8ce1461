"""Train the network that finds the points of a masked face: ``python -m data.landmarks train FACES… [--out FILE]``.

FACES are photographs of people without masks, one sub-folder a person. Stopped and run again, it resumes. Beside the
trained file lies its card: what it was trained on and how far its points are off on people it has never seen.
"""

import signal
import sys

import tyro

from data.landmarks.settings import LandmarkSettings
from data.landmarks.train import train
from runtime.errors import one_line_errors


def main() -> None:
    """The command."""
    settings = tyro.extras.subcommand_cli_from_dict({"train": LandmarkSettings}, prog="python -m data.landmarks")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with one_line_errors():
        try:
            train(settings)
        except KeyboardInterrupt:
            print("\nstopped; the same command resumes", file=sys.stderr)
            sys.exit(130)


if __name__ == "__main__":
    main()
