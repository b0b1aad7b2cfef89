"""Foreign text that is shown to people: on a terminal, in a window, in a table."""


def printable(text: str) -> str:
    r"""Write characters that nobody sees, but terminals and windows obey, as their names.

    Control characters (escape sequences of terminals, new lines), those that turn the direction
    of writing, invisible ones, and halves of characters.

    Examples
    --------
    >>> printable("CPCNN \x1b[2J, µm")
    'CPCNN \\x1b[2J, µm'
    """
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii")
        for sign in text
    )
