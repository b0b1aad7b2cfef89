"""Wells after their correction and before, side by side: p-values need both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.correction import Correction
from cpcnn_core.profiles.cross_fitting import cross_fit
from cpcnn_core.profiles.significance import Significance
from cpcnn_core.schema.profiles import Profiles


@dataclass(frozen=True)
class CorrectedWells:
    """Wells, what they were before, and the correction that was fitted to them.

    Attributes
    ----------
    wells : Profiles
    uncorrected : Profiles or None
        The same rows; None where they are not known.
    correction : Correction or None
        None where nothing was corrected, or `uncorrected` is not known.

    Examples
    --------
    >>> import pandas as pd
    >>> wells = Profiles(np.eye(2), pd.DataFrame({"Metadata_Well": ["A1", "A2"]}), ["x", "y"])
    >>> as_they_are(wells).uncorrected is wells
    True
    """

    wells: Profiles
    uncorrected: Profiles | None
    correction: Correction | None

    def select(self, rows: np.ndarray) -> CorrectedWells:
        """Return some of the wells.

        Parameters
        ----------
        rows : ndarray of shape (n,), bool, or (m,), int

        Examples
        --------
        >>> import pandas as pd
        >>> wells = Profiles(np.eye(2), pd.DataFrame({"Metadata_Well": ["A1", "A2"]}), ["x", "y"])
        >>> as_they_are(wells).select([1]).uncorrected.features.tolist()
        [[0.0, 1.0]]
        """
        return self._change(lambda table: table.select(rows))

    def with_metadata(self, metadata: pd.DataFrame) -> CorrectedWells:
        """Return the same wells with other metadata.

        Examples
        --------
        >>> import pandas as pd
        >>> wells = Profiles(np.eye(2), pd.DataFrame({"Metadata_Well": ["A1", "A2"]}), ["x", "y"])
        >>> other = pd.DataFrame({"Metadata_Well": ["A01", "A02"]})
        >>> as_they_are(wells).with_metadata(other).wells.metadata["Metadata_Well"].tolist()
        ['A01', 'A02']
        """
        return self._change(lambda table: replace(table, metadata=metadata))

    def _change(self, change: Callable[[Profiles], Profiles]) -> CorrectedWells:
        wells, before = change(self.wells), self.uncorrected
        if before is not None:
            before = wells if before is self.wells else change(before)
        return replace(self, wells=wells, uncorrected=before)

    def to_fit_again(self, who_needs: str) -> tuple[Profiles, Correction]:
        """Return the wells before the correction, and the correction, be it none.

        Parameters
        ----------
        who_needs : str
            Begins the sentence that refuses.

        Raises
        ------
        ProfileError
            The wells before the correction are not known.

        Examples
        --------
        >>> import pandas as pd
        >>> wells = Profiles(np.eye(2), pd.DataFrame({"Metadata_Well": ["A1", "A2"]}), ["x", "y"])
        >>> as_they_are(wells).to_fit_again("p-values need")[1].method
        'none'
        """
        if self.uncorrected is None:
            raise ProfileError(
                f"{who_needs} the wells as they were before the correction, and they are not "
                "kept with it; make the table again with: cpcnn profile"
            )
        none = Correction("none", list(self.uncorrected.feature_names), [])
        return self.uncorrected, self.correction or none

    def significance(
        self,
        controls: np.ndarray,
        by: str,
        *,
        null: np.ndarray | None = None,
        doses_of: str | None = None,
    ) -> Significance:
        """Fit the correction again without some of the controls, to compare with these.

        Parameters
        ----------
        controls : ndarray of shape (n,), bool
        by : str
            The column that names the treatment.
        null : ndarray of shape (n,), bool, optional
            Other wells without effect, to compare with instead.
        doses_of : str, optional
            The column that names the compound, where treatments are doses.

        Raises
        ------
        ProfileError
            No controls, or too few; or the wells before the correction are not known.
        """
        if not np.any(controls):
            raise ProfileError("p-values compare with control wells; say which wells they are")
        before, correction = self.to_fit_again("p-values need")
        fitted = cross_fit(before, controls, by, correction, null=null)
        return Significance(fitted, doses_of=doses_of)


def as_they_are(wells: Profiles | CorrectedWells) -> CorrectedWells:
    """Return wells of which nothing is known beside them: uncorrected ones are their own.

    Of which something is known, they stay what they are.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"Metadata_Well": ["A1", "A2"]})
    >>> wells = Profiles(np.eye(2), rows, ["x", "y"], {"correction": "sphering"})
    >>> as_they_are(wells).uncorrected is None
    True
    """
    if isinstance(wells, CorrectedWells):
        return wells
    return CorrectedWells(wells, None if wells.provenance.get("correction") else wells, None)
