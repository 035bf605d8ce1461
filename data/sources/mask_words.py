"""What a folder's name says of the faces in it: masked, not masked, or nothing."""

import re

_NOT = r"(?:un|non?|not|without|wo|off)"
_UNMASKED = re.compile(rf"(?<![a-z]){_NOT}[\W_]*(?:face[\W_]*)?mask|mask(?:ed)?[\W_]*(?:free|less|off)(?![a-z])")
_MASKED = re.compile(r"mask(?:s|ed)?(?![a-z])|(?<![a-z])(?:surgical|k?n95|ffp2)(?![a-z])")


def says_masked(name: str) -> bool | None:
    """True for fakemask, with_mask, AFDB_masked, KN95; False for no_mask, unmasked, maskless; None for other names."""
    name = name.casefold()
    if _UNMASKED.search(name):
        return False
    return True if _MASKED.search(name) else None
