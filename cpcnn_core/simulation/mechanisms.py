"""Mechanisms of treatments: which parameters each moves, and how far.

They follow what such compounds do to U2OS cells in broad strokes, and are no models of
any compound: what matters is that the cause of every difference is known.
"""

from __future__ import annotations

# In spreads of the parameter between untreated cells, at strength 1.
MECHANISMS: dict[str, dict[str, float]] = {
    "Aurora kinase inhibitor": {
        "multinucleate": 3.0,
        "nucleus_irregularity": 2.2,
        "nucleus_area": 2.2,
        "micronuclei": 2.5,
        "cell_area": 1.2,
        "cell_count": -2.0,
    },
    "mitochondrial uncoupler": {
        "mito_intensity": -1.5,
        "mito_length": -2.5,
        "mito_number": -1.0,
    },
    "actin inhibitor": {
        "actin_fibres": -3.0,
        "ruffles": -1.5,
        "protrusions": 1.8,
        "cell_area": -1.0,
        "blebs": 1.5,
    },
    "RNA polymerase inhibitor": {
        "nucleoli_number": -2.0,
        "nucleoli_area": -1.0,
        "nucleoli_intensity": -2.5,
        "rna_intensity": -1.5,
        "chromatin_contrast": -1.0,
    },
    "tubulin inhibitor": {
        "dividing": 2.2,
        "rounded": 1.2,
        "nucleus_irregularity": 1.5,
        "golgi_spread": 2.0,
        "mito_spread": -1.2,
        "cell_elongation": -1.5,
        "cell_count": -1.5,
    },
    "ER stress inducer": {
        "er_intensity": 1.5,
        "er_texture": 2.2,
        "er_spread": 1.5,
        "rna_intensity": -1.0,
    },
    "Golgi disruptor": {
        "golgi_spread": 3.0,
        "golgi_intensity": -1.5,
        "er_intensity": 0.8,
    },
    "HDAC inhibitor": {
        "nucleus_area": 1.3,
        "chromatin_contrast": -2.0,
        "chromatin_grain": 1.5,
        "cell_elongation": 1.5,
        "actin_fibres": 1.5,
        "nucleoli_number": -1.0,
        "cell_count": -1.0,
    },
    "DNA damaging agent": {
        "nucleus_area": 2.5,
        "cell_area": 2.0,
        "micronuclei": 1.0,
        "dividing": -2.0,
        "dna_intensity": -0.8,
        "cell_count": -2.5,
    },
    "kinesin inhibitor": {
        "mito_spread": -2.2,
        "er_spread": -1.2,
        "golgi_spread": -1.0,
        "dividing": 1.2,
    },
    "ROCK inhibitor": {
        "cell_elongation": 2.2,
        "protrusions": 2.0,
        "actin_fibres": -1.8,
        "ruffles": 1.0,
        "multinucleate": 1.2,
    },
    "proteasome inhibitor": {
        "er_spread": -2.0,
        "nucleoli_area": 1.8,
        "rna_intensity": 1.0,
        "cell_area": -1.2,
        "rounded": 1.5,
        "cell_count": -2.0,
    },
    "mitochondrial fission inhibitor": {
        "mito_length": 2.5,
        "mito_spread": 1.5,
        "mito_intensity": 0.8,
    },
    "apoptosis inducer": {
        "rounded": 2.5,
        "blebs": 2.8,
        "cell_count": -3.5,
        "cell_area": -1.0,
        "nucleus_area": -1.5,
        "chromatin_contrast": 1.5,
    },
}
