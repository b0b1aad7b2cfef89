"""What became of a job, for the program that started it in another process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cpcnn_core.screen.site_report import SiteReport


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
