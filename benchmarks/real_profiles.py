"""Effect of corrections on real profiles: BBBC021 and seven JUMP plates.

Needs a folder with ``bbbc021_wells`` (the tables of cytominergallery: well means of Ljosa et
al. 2013, images, mechanisms) and ``jump_target1_wells`` (plates BR00117010 to 13 and 24 to 26
of cpg0000 with ``comp.tsv``, from CHAMMI-75). Run it from the project's folder::

    python benchmarks/real_profiles.py FOLDER --record
"""

import argparse
import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from machine import machine

from cpcnn_core.errors import ProfileWarning
from cpcnn_core.evaluation.replicates import find_replicates
from cpcnn_core.evaluation.scores import evaluate_treatments
from cpcnn_core.expressions import choose_rows
from cpcnn_core.io.profile_files import read_profiles
from cpcnn_core.profiles.aggregate import aggregate
from cpcnn_core.profiles.correction import fit_correction
from cpcnn_core.profiles.similarity import cosine_similarity
from cpcnn_core.profiles.wells import well_profiles

RELATIVE = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
CORRECTIONS = {
    "none": {},
    **{
        f"{method}, relative lambda {value:g}": {
            "method": method,
            "regularization": value,
            "relative": True,
        }
        for method in ("sphering", "centred-sphering")
        for value in RELATIVE
    },
    "plate-mad": {"method": "plate-mad"},
    "pca-mad, 64 components": {"method": "pca-mad", "components": 64},
    "pca-mad, 16 components": {"method": "pca-mad", "components": 16},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--record", action="store_true", help="write real_profiles.json")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ProfileWarning)
    bbbc021, bbbc021_controls = read_bbbc021(options.folder / "bbbc021_wells")
    jump, jump_controls, mechanisms = read_jump(options.folder / "jump_target1_wells")
    published = replace(bbbc021, features=percentile_scaled(bbbc021, bbbc021_controls))
    rows = {"1 to 99 % of the controls to 0 and 1 (Ljosa et al.)": [accuracy(published), "", ""]}
    for name, how in CORRECTIONS.items():
        rows[name] = [
            accuracy(corrected(bbbc021, bbbc021_controls, how)),
            *retrieval(corrected(jump, jump_controls, how), jump_controls, mechanisms),
        ]
    columns = ["BBBC021: nearest of another compound", "JUMP: replicates", "JUMP: mechanisms"]
    print(pd.DataFrame(rows, index=columns).T.to_string(float_format="{:.3f}".format))
    result = {"columns": columns, "rows": rows, **machine()}
    if options.record:
        Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")


def corrected(wells, controls, how):
    return fit_correction(wells, controls, **how).transform(wells) if how else wells


def read_bbbc021(folder):
    wells = read_profiles(folder / "ljosa_jbiomolscreen_2013_per_well_mean.csv.gz")
    images = pd.read_csv(folder / "BBBC021_v1_image.csv.gz", dtype=str)
    names = {
        "Image_Metadata_Plate_DAPI": "Metadata_Plate",
        "Image_Metadata_Well_DAPI": "Metadata_Well",
        "Image_Metadata_Compound": "Metadata_Compound",
        "Image_Metadata_Concentration": "Metadata_Concentration",
    }
    images = images[list(names)].rename(columns=names).drop_duplicates()
    metadata = wells.metadata.merge(images, how="left", on=["Metadata_Plate", "Metadata_Well"])
    truth = pd.read_csv(folder / "BBBC021_v1_moa.csv")
    labels = truth.set_index(["compound", "concentration"])["moa"]
    dose = metadata["Metadata_Concentration"].astype(float)
    metadata["Metadata_moa"] = [
        labels[key] for key in zip(metadata["Metadata_Compound"], dose, strict=True)
    ]
    return replace(wells, metadata=metadata), (metadata["Metadata_Compound"] == "DMSO").to_numpy()


def percentile_scaled(wells, controls):
    plates, scaled = wells.metadata["Metadata_Plate"], np.empty(wells.features.shape)
    for plate in plates.unique():
        mine = (plates == plate).to_numpy()
        low, high = np.percentile(wells.features[mine & controls], [1, 99], axis=0)
        scaled[mine] = (wells.features[mine] - low) / np.where(high > low, high - low, 1)
    return scaled


def accuracy(wells):
    """Part of the treatments whose nearest one of another compound has their mechanism."""
    treated = wells.select((wells.metadata["Metadata_Compound"] != "DMSO").to_numpy())
    by = ["Metadata_Compound", "Metadata_Concentration", "Metadata_moa"]
    treatments = aggregate(treated, by, "mean")
    compounds, mechanisms = (treatments.metadata[name].to_numpy() for name in (by[0], by[2]))
    similarity = cosine_similarity(treatments.features)
    similarity[compounds[:, None] == compounds] = -2
    return float((mechanisms[similarity.argmax(axis=1)] == mechanisms).mean())


def read_jump(folder):
    wells = well_profiles(sorted(folder.glob("*.csv.gz")))
    truth = pd.read_csv(folder / "comp.tsv", sep="\t", keep_default_na=False)
    mechanisms = dict(zip(truth["InChIKey"], truth["moa_list"], strict=True))
    return wells, choose_rows(wells, "control_type == 'negcon'"), mechanisms


def retrieval(wells, controls, mechanisms):
    """Mean average precision: replicates on other plates, and mechanisms of compounds."""
    by = "Metadata_InChIKey"
    treated = wells.select(~controls & (wells.metadata[by] != "").to_numpy())
    compounds = aggregate(treated, [by], "mean")
    labels = [mechanisms.get(name, "") for name in compounds.metadata[by]]
    scores = evaluate_treatments(compounds.features, labels)
    replicates = float(np.nanmean(find_replicates(treated, by).precision))
    return replicates, scores["mean_average_precision"]


if __name__ == "__main__":
    main()
