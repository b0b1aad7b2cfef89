"""Answers of Zenodo and Hugging Face, for a server of these tests that takes their place."""

import hashlib
import json

MODEL, FILE = "cell-painting-cnn-v1", "Cell_Painting_CNN_v1.hdf5"
HUB_FILE = "huggingface.co/CaicedoLab/MorphEm/resolve/main/model.safetensors"


def record_of(content, **changes):
    """The answers of Zenodo, whose interface gives a file's name as its key."""
    address = "zenodo.org/api/records/7114558"
    listed = {
        "key": FILE,
        "size": len(content),
        "checksum": f"md5:{hashlib.md5(content).hexdigest()}",
        "links": {"self": f"https://{address}/files/{FILE}/content"},
    }
    return {
        "doi.org/10.5281/zenodo.7114558": (302, "https://zenodo.org/records/7114558"),
        "zenodo.org/records/7114558": (200, b"<html></html>"),
        address: (200, json.dumps({"id": 7114558, "files": [listed | changes]}).encode()),
        f"{address}/files/{FILE}/content": (200, content),
    }


def hub_with(etag):
    """The answer of Hugging Face's hub when it is asked about MorphEm's file."""
    headers = {"X-Linked-Etag": f'"{etag}"', "X-Repo-Commit": "0" * 40, "X-Linked-Size": "9"}
    return {HUB_FILE: (302, "https://cdn-lfs.huggingface.co/of/the/file", headers)}
