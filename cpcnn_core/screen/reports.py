"""What became of a site, and of a job: for people, and for the program that started it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from cpcnn_core.errors import CPCNNError, DiskFullError

# With a file that is up to date, or will be.
_COUNTED = ("embedded", "stored", "measured", "already done", "to do")
T = TypeVar("T")


@dataclass
class SiteReport:
    """The outcome of one site.

    Attributes
    ----------
    site : str
        ``plate/well/site``.
    state : str
        ``embedded`` (of crops: ``stored``), ``already done``, ``no objects``,
        ``no locations`` or ``failed``; ``to do`` where it is not to be done yet.
    cells : int
    reason : str
        Why it failed, or what was odd about it.
    seconds : float
        From the moment its images were read to its file.
    redone : str
        Why it was done again, though there was a file.
    kept : bool
        Whether it failed and nothing is known to differ from what its file was made from:
        a disk that is not mounted now, say.

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
    redone: str = ""
    kept: bool = False

    @property
    def counted(self) -> bool:
        """Whether the site belongs into the screen's tables."""
        return self.kept or self.state in _COUNTED


@dataclass
class JobResult:
    """What became of a job; filled while it runs.

    Attributes
    ----------
    finished : bool
        Whether there are features: of all sites, or all but those that failed.
    error : str
        Why it did not finish, or found no cells.
    sites, failed : int
        Sites that were looked at, and those that failed.
    first_failed : str
        The first of these, and why.
    cells : int
        Embedded or measured by this run; cells that were done before are not counted.
    notices : tuple of str
        What users should know: that images were resampled, which features were left out.
    redone : str
        How many sites were done again, and why; empty where none was.
    made_by : dict of str to str
        The settings, engine and device that the features were made with.

    Examples
    --------
    >>> result = JobResult()
    >>> result.add(SiteReport("P1/A01/1", "embedded", 7))
    >>> result.add(SiteReport("P1/A01/2", "failed", reason="there is no image file 2.tif"))
    >>> result.cells, result.reason
    (7, '1 of 2 sites failed: P1/A01/2, there is no image file 2.tif')
    """

    finished: bool = False
    error: str = ""
    sites: int = 0
    failed: int = 0
    first_failed: str = ""
    cells: int = 0
    notices: tuple[str, ...] = ()
    redone: str = ""
    made_by: dict[str, str] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """What is wrong; empty where nothing is."""
        if self.failed:
            return f"{self.failed} of {self.sites} sites failed: {self.first_failed}"
        return self.error

    def start(self, made_by: Mapping[str, str], notices: Sequence[str]) -> None:
        """Take down what is known before the first site is done."""
        self.made_by = dict(made_by)
        self.notices += tuple(notices)

    def add(self, report: SiteReport) -> None:
        """Count a site."""
        self.sites += 1
        self.cells += report.cells
        if report.state == "failed":
            self.failed += 1
            self.first_failed = self.first_failed or f"{report.site}, {report.reason}"


def counted_sites(sites: Sequence[T], reports: Sequence[SiteReport]) -> list[T]:
    """Return the sites that belong into the screen's tables, by their reports.

    Examples
    --------
    >>> reports = [SiteReport("P1/A01/1", "embedded"), SiteReport("P1/A02/1", "no objects")]
    >>> counted_sites(["P1/A01/1", "P1/A02/1"], reports)
    ['P1/A01/1']
    """
    return [site for site, report in zip(sites, reports, strict=True) if report.counted]


def stopped(error: DiskFullError, reports: Iterable[SiteReport], total: int) -> DiskFullError:
    """Say with an error of a full disk how many sites are done.

    Examples
    --------
    >>> str(stopped(DiskFullError("no room"), [SiteReport("P1/A01/1", "embedded")], 8))
    '1 of 8 sites is done; no room'
    """
    done = sum(report.counted for report in reports)
    return DiskFullError(f"{done} of {total} sites {'is' if done == 1 else 'are'} done; {error}")


def failure(site: object, error: BaseException, *, kept: bool = False) -> SiteReport:
    r"""Report a site that failed, with the error in one line.

    Parameters
    ----------
    site : object
        Its text is its name.
    error : BaseException
    kept : bool
        See `SiteReport`.

    Examples
    --------
    >>> failure("P1/A01/1", OSError("no\nspace")).reason
    'OSError: no space'
    """
    text = " ".join(str(error).split())
    own = isinstance(error, CPCNNError)
    reason = text if own else f"{type(error).__name__}: {text}"
    if kept:
        reason += "; what an earlier run made of it is kept"
    return SiteReport(str(site), "failed", reason=reason, kept=kept)
