"""Enrolled people: the embeddings of their pictures, kept in one .npz file that runs no code when it is read."""

from pathlib import Path

import numpy as np

from runtime.checkpoints.archive import refuse_bomb
from runtime.errors import InputError
from runtime.files import replace_file


class Enrolment:
    """``person`` and ``picture``: lists of N names; ``embeddings`` float32 (N, D), unit rows; ``network``: whose."""

    def __init__(self, network: str) -> None:
        self.network = network
        self.person: list[str] = []
        self.picture: list[str] = []
        self.embeddings: list[np.ndarray] = []

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
        except Exception as error:  # a damaged zip can fail with anything
            raise InputError(f"{path} is no enrolment, or damaged ({type(error).__name__}); enrol anew") from None
        if made_with != network:
            raise InputError(f"{path} was enrolled with another network; enrol anew into another file (--people)")
        return enrolment

    def save(self, path: Path) -> None:
        """Write the file as a whole or not at all."""
        arrays = {"person": np.array(self.person, dtype=str), "picture": np.array(self.picture, dtype=str)}
        with replace_file(path) as temporary, temporary.open("wb") as file:
            np.savez(file, network=np.array(self.network), embeddings=np.array(self.embeddings), **arrays)

    def add(self, person: str, picture: str, embedding: np.ndarray) -> None:
        """Enrol one picture; a picture of that name of this person is replaced."""
        for row, known in enumerate(zip(self.person, self.picture, strict=True)):
            if known == (person, picture):
                self.embeddings[row] = embedding
                return
        self.person.append(person)
        self.picture.append(picture)
        self.embeddings.append(embedding)

    def remove(self, person: str) -> None:
        """Forget a person and all their pictures. Raises InputError if nobody is enrolled under that name."""
        if person not in self.person:
            more = f" and {len(self.people) - 10} more" if len(self.people) > 10 else ""
            names = ", ".join(self.people[:10]) or "none"
            raise InputError(f"nobody is enrolled as {person!r}; enrolled are {names}{more}")
        kept = [row for row, name in enumerate(self.person) if name != person]
        for name in ("person", "picture", "embeddings"):
            values = getattr(self, name)
            setattr(self, name, [values[row] for row in kept])

    @property
    def people(self) -> list[str]:
        """The enrolled people, sorted."""
        return sorted(set(self.person))

    def templates(self) -> np.ndarray:
        """One unit row a person, in the order of ``people``: the direction of the mean of their embeddings."""
        rows, people = np.array(self.embeddings, dtype=np.float32), np.array(self.person)
        means = np.stack([rows[people == name].mean(axis=0) for name in self.people])
        return means / np.linalg.norm(means, axis=1, keepdims=True)
