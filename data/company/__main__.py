"""Photographs of people who don't exist, to try everything on: ``python -m data.company FOLDER``.

python -m data.company album                    12 people to enrol, 4 strangers, 30 group pictures
python -m data.company album --pictures 100     more of them

FOLDER gets people/ (bare portraits, a sub-folder per person), visits/ (the same people and strangers with a mask),
photos/ (group pictures) and faces.csv (who is where in photos/).
"""

import tyro

from data.company.album import Album, make_album
from runtime.errors import one_line_errors


def main() -> None:
    """The command."""
    wanted = tyro.cli(Album, description=__doc__)
    make_album(wanted)
    print(f"{wanted.pictures} group pictures of {wanted.people + wanted.strangers} people in {wanted.folder}")


if __name__ == "__main__":
    with one_line_errors():
        main()
