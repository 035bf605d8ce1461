"""Enrolled people: the embeddings of their pictures, kept in one .npz file that runs no code when it is read."""

from pathlib import Path

import numpy as np

from eval.metrics.distances import unit_means
from runtime.checkpoints.archive import refuse_bomb
from runtime.errors import InputError
from runtime.files import replace_file

_COLUMNS = ("person", "picture", "content", "embeddings")


class Enrolment:
    """``person`` and ``picture``: lists of N names; ``content``: digests of their files, "" in an enrolment from before
    they were kept; ``embeddings`` float32 (N, D), unit rows; ``network``: whose."""

    def __init__(self, network: str) -> None:
        self.network = network
        self.person: list[str] = []
        self.picture: list[str] = []
        self.content: list[str] = []
        self.embeddings: list[np.ndarray] = []
        self._row_of: dict[str, int] = {}

    @classmethod
    def load(cls, path: Path, network: str) -> "Enrolment":
        """The enrolment of a file, or an empty one if there is no such file.

        Raises InputError: damaged, or made with another network, whose embeddings can't be compared.
        """
        enrolment = cls(network)
        if not path.exists():
            return enrolment
        try:
            refuse_bomb(path)
            with np.load(path, allow_pickle=False) as file:
                made_with = str(file["network"])
                enrolment.person, enrolment.picture = file["person"].tolist(), file["picture"].tolist()
                enrolment.embeddings = list(file["embeddings"])
                enrolment.content = file["content"].tolist() if "content" in file else [""] * len(enrolment.person)
        except Exception as error:  # a damaged zip can fail with anything
            raise InputError(f"{path} is no enrolment, or damaged ({type(error).__name__}); enrol anew") from None
        if made_with != network:
            raise InputError(f"{path} was enrolled with another network; enrol anew into another file (--people)")
        enrolment._index()
        return enrolment

    def save(self, path: Path) -> None:
        """Write the file as a whole or not at all."""
        arrays = {name: np.array(getattr(self, name), dtype=str) for name in ("person", "picture", "content")}
        with replace_file(path) as temporary, temporary.open("wb") as file:
            np.savez(file, network=np.array(self.network), embeddings=np.array(self.embeddings), **arrays)

    def add(self, person: str, picture: str, content: str, embedding: np.ndarray) -> str | None:
        """Enrol one picture, known by its ``content`` whatever its file's name.

        Returns what it replaces, as "person/picture": itself from before, also under another person; or None.
        """
        row = self._row_of.get(content)
        if row is None:
            self._row_of[content] = len(self.content)
            for name, value in zip(_COLUMNS, (person, picture, content, embedding), strict=True):
                getattr(self, name).append(value)
            return None
        replaced = f"{self.person[row]}/{self.picture[row]}"
        self.person[row], self.picture[row], self.embeddings[row] = person, picture, embedding
        return replaced

    def _index(self) -> None:
        self._row_of = {content: row for row, content in enumerate(self.content) if content}

    def holds(self, person: str, picture: str, contents: set[str]) -> bool:
        """Whether one of the ``contents`` is enrolled, or, in an enrolment without digests, a picture of this name."""
        if any(content in self._row_of for content in contents):
            return True
        if len(self._row_of) == len(self.content):
            return False
        stem = Path(picture).stem
        old = zip(self.person, self.picture, self.content, strict=True)
        return any((who, Path(name).stem, known) == (person, stem, "") for who, name, known in old)

    def remove(self, person: str) -> None:
        """Forget a person and all their pictures. Raises InputError if nobody is enrolled under that name."""
        if person not in self.person:
            more = f" and {len(self.people) - 10} more" if len(self.people) > 10 else ""
            names = ", ".join(self.people[:10]) or "none"
            raise InputError(f"nobody is enrolled as {person!r}; enrolled are {names}{more}")
        kept = [row for row, name in enumerate(self.person) if name != person]
        for name in _COLUMNS:
            values = getattr(self, name)
            setattr(self, name, [values[row] for row in kept])
        self._index()

    @property
    def people(self) -> list[str]:
        """The enrolled people, sorted."""
        return sorted(set(self.person))

    def templates(self) -> np.ndarray:
        """One unit row a person, in the order of ``people``: the direction of the mean of their embeddings."""
        people, column = np.unique(self.person, return_inverse=True)
        return unit_means(np.array(self.embeddings), column, len(people)).astype(np.float32)
