"""Show text from elsewhere so that it can neither imitate our lines nor control the terminal."""

from __future__ import annotations


def printable(text: object) -> str:
    r"""Return a text with everything written out that is no visible character.

    File names, labels of tables and messages of other libraries may hold line ends, which would
    look like lines of ours, escape sequences, which a terminal obeys, and signs that turn the
    direction of writing.

    Parameters
    ----------
    text : object
        Its text is meant.

    Returns
    -------
    str
        On one line, and writable in any encoding of Unicode.

    Examples
    --------
    >>> print(printable("P1\nerror: \x1b[31mall is lost"), printable("3 µm"))
    P1\nerror: \x1b[31mall is lost 3 µm
    """
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii")
        for sign in shown
    )
