"""The message of what is refused."""

from collections.abc import Callable

import pytest

from runtime.errors import InputError


def one_line(call: Callable[[], object]) -> str:
    """What the InputError of ``call`` says, which is one line and not a long one."""
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message and len(message) < 700, message
    return message
