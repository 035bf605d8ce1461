"""``python -m eval.benchmark``: the field's test sets by their published protocols, plain and masked.

A *set* is whatever has the shape of ``contract.BenchmarkSet``. How one is added:

- A module of ``sets/`` (``pair_lists.py``, ``ijb.py``, ``mask_plain.py``) has a *finder*: folder → the sets that lie in
  this very folder, an empty list if there are none. It reads lists and headers, no pictures, and raises InputError for
  a set that is damaged. ``find.py`` lists the finders and walks through the folders: what one of ``FOLDER_FINDERS``
  recognises belongs to that set, with the folder of its pictures and all under that; those of ``FILE_FINDERS``
  (``.bin``, CSV) take single files.
- ``BenchmarkSet.describe`` says in a line what was found, ``seconds`` about how long it takes, ``run`` does the work
  and returns a ``Result`` for each table row: one for a set as it is, more for its masked twins.
- ``run`` gets ``Work``: the network under test (``network.sums``: faces → the sum of the outputs of image and mirror,
  before normalising, so that its length is the norm that IJB's templates are weighted by), the detector and the seed.
- In a ``Result``, ``official`` holds the figures exactly as the field calculates them, ``own`` this project's, with
  intervals. ``published.py`` has the papers' figures; one stands beside a result only if set, condition, protocol and
  figure are all the same.

Everything after that (table, JSON, page, plots, ``eval.compare``) knows results alone.
"""
