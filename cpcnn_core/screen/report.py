"""What became of a site."""

from __future__ import annotations

from dataclasses import dataclass

from cpcnn_core.errors import CPCNNError


@dataclass
class SiteReport:
    """What became of one site.

    Attributes
    ----------
    site : str
        ``plate/well/site``.
    state : str
        ``embedded`` (of crops: ``stored``), ``already done``, ``no objects``,
        ``no locations`` or ``failed``.
    cells : int
    reason : str
        Why it failed, or what was odd about it.
    seconds : float
        From the moment its images were read to its file.

    Examples
    --------
    >>> SiteReport("P1/A01/1", "embedded", cells=120).reason
    ''
    """

    site: str
    state: str
    cells: int = 0
    reason: str = ""
    seconds: float = 0.0


def failure(site: object, error: BaseException) -> SiteReport:
    r"""Report a site that failed, with the error in one line.

    Examples
    --------
    >>> failure("P1/A01/1", OSError("no\nspace"))
    SiteReport(site='P1/A01/1', state='failed', cells=0, reason='OSError: no space', seconds=0.0)
    """
    text = " ".join(str(error).split())
    own = isinstance(error, CPCNNError)
    return SiteReport(
        str(site), "failed", reason=text if own else f"{type(error).__name__}: {text}"
    )
