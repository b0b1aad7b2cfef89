"""How much memory a file may claim: more than real data ever need is refused beforehand."""

from __future__ import annotations

from pathlib import Path

# A picture of cells compresses to a third; one of few labels, or a column of one text, to a
# hundredth. Deflate ends at 1032, other methods at far more: what is so small was made to be.
MAX_COMPRESSED = 250
# Little enough for any machine, whatever the file says.
ALWAYS_TRUSTED_BYTES = 2**29


def is_believable(claimed: int, stored: int) -> bool:
    """Tell whether that many bytes in memory may come from that many in a file.

    Parameters
    ----------
    claimed : int
        Bytes in memory.
    stored : int
        Bytes in the file.

    Examples
    --------
    >>> is_believable(2**29, 100), is_believable(2**32, 2**22)
    (True, False)
    """
    return claimed <= ALWAYS_TRUSTED_BYTES or claimed <= MAX_COMPRESSED * stored


def refuse_claim(path: str | Path, what: str, claimed: int, stored: int) -> str:
    """Say in one sentence why it is not believed, and what to do where it is true.

    Parameters
    ----------
    path : str or Path
    what : str
        Of the file.
    claimed, stored : int
        As of `is_believable`.

    Examples
    --------
    >>> refuse_claim("a.tif", "its image", 2**32, 2**22)
    'a.tif cannot be read: its image would take 4294967296 bytes of memory, 1024 times what the \
file has (4194304); more than 250 times is not believed of files beyond 512 MiB: where it is \
right, save it without compression'
    """
    return (
        f"{path} cannot be read: {what} would take {claimed} bytes of memory, "
        f"{claimed // max(stored, 1)} times what the file has ({stored}); more than "
        f"{MAX_COMPRESSED} times is not believed of files beyond "
        f"{ALWAYS_TRUSTED_BYTES >> 20} MiB: where it is right, save it without compression"
    )
