"""Pack a CSV and the images it names into one file, or check such a file.

    python -m data.pack datasets/mine/train.csv --out datasets/mine/train.pack
    python -m data.pack datasets/mine/train.pack

The main scripts take a pack wherever they take a CSV, train or pair. The images go in as they are, each once, in the
order in which the CSV names them. If interrupted, the same command resumes: what is written and still
matches its checksum is kept. At the end every byte is read back before the file gets its name.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from data.tables.pack_file import SUFFIX
from data.tables.write_pack import check_pack, pack_csv
from runtime.errors import one_line_errors


@dataclass(frozen=True)
class PackSettings:
    """Options of python -m data.pack."""

    table: tyro.conf.Positional[Path]
    """A train or pair CSV to pack, or a .pack to check."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE.pack")] = None
    """The file to make; without it, the CSV's name with .pack."""
    root: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Folder that the CSV's paths start from; without it, the CSV's own."""
    path_prefix: str = ""
    """OLD=NEW maps absolute paths of a foreign CSV under the root."""


def main() -> None:
    settings = tyro.cli(PackSettings, prog="python -m data.pack", description=__doc__)
    if settings.table.suffix == SUFFIX:
        pack = check_pack(settings.table)
        print(f"{settings.table}: {len(pack):,} images, all bytes match their checksums")
    else:
        out = settings.out or settings.table.with_suffix(SUFFIX)
        pack_csv(settings.table, out, root=settings.root or settings.table.parent, path_prefix=settings.path_prefix)


if __name__ == "__main__":
    with one_line_errors():
        main()
