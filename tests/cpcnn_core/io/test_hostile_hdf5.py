"""HDF5 files made to harm: what they point to, claim or hide is refused before it is read."""

import sys
import time
import zlib

import h5py
import numpy as np
import pandas as pd
import pytest

from cpcnn_core.errors import TableError, WeightsError
from cpcnn_core.io import untrusted_files
from cpcnn_core.io.plate_tables import anndata_plate
from cpcnn_core.io.profile_files import read_profiles
from cpcnn_core.io.untrusted_files import ReadingError, read_elsewhere
from cpcnn_core.models.keras_hdf5 import _layout, read_keras_weights

anndata = pytest.importorskip("anndata")
STEM = "stem_conv/stem_conv_1/kernel:0"
SECRET = np.arange(864, dtype="f4")


def external_storage(file, name, like, secret):
    file.create_dataset(
        name, like.shape, like.dtype, external=[(str(secret), 0, h5py.h5f.UNLIMITED)]
    )


def external_link(file, name, like, secret):
    with h5py.File(secret.with_suffix(".hdf5"), "w") as other:
        other["there"] = np.resize(SECRET, like.shape).astype(like.dtype)
    file[name] = h5py.ExternalLink(str(secret.with_suffix(".hdf5")), "there")


def virtual(file, name, like, secret):
    external_link(file, "elsewhere", like, secret)
    layout = h5py.VirtualLayout(like.shape, like.dtype)
    layout[...] = h5py.VirtualSource(str(secret.with_suffix(".hdf5")), "there", like.shape)
    file.create_virtual_dataset(name, layout)
    del file["elsewhere"]


def soft_link(file, name, like, secret):
    file["elsewhere"] = like
    file[name] = h5py.SoftLink("/elsewhere")


def huge(file, name, like, secret):
    """4 GB of zeros, in 4 MB."""
    zeros(file, name, (2**15, 2**15), 2**8)


def zeros(file, name, shape, width):
    made = file.create_dataset(name, shape, "f4", chunks=(*shape[:-1], width), compression="gzip")
    packed = zlib.compress(np.zeros(made.chunks, "f4").tobytes(), 9)
    for start in range(0, shape[-1], width):
        made.id.write_direct_chunk((0,) * (len(shape) - 1) + (start,), packed)


def never_written(file, name, like, secret):
    file.create_dataset(name, like.shape, like.dtype)


def half_written(file, name, like, secret):
    file.create_dataset(name, like.shape, like.dtype, chunks=(1,) * like.ndim)[:1] = like[:1]


def plug_in(file, name, like, secret):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk(like.shape)
    properties.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple(like.shape)
    kind = h5py.h5t.py_create(like.dtype)
    parent, _, last = name.rpartition("/")
    place = file.require_group(parent).id if parent else file.id
    h5py.h5d.create(place, last.encode(), kind, space, properties)


def references(file, name, like, secret):
    kind = h5py.ref_dtype
    file.create_dataset(name, data=np.full(like.shape, file.ref, kind), dtype=kind)


ATTACKS = {
    external_storage: "in other files, which are not opened",
    virtual: "in other files, which are not opened",
    external_link: "is a link to something else, which is not followed",
    soft_link: "is a link to something else, which is not followed",
    huge: "would take 4294967296 bytes of memory|has shape",
    never_written: "never written",
    half_written: "never written",
    plug_in: r"compressed by zstd \(filter 32015\), which is not read",
    references: "neither numbers nor texts|no floating-point numbers",
}


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "system_file"
    SECRET.tofile(path)
    return path


def replaced(path, name, attack, secret):
    with h5py.File(path, "r+") as file:
        like = file[name][()]
        attributes = dict(file[name].attrs)
        del file[name]
        attack(file, name, like, secret)
        if attack not in (external_link, soft_link):
            file[name].attrs.update(attributes)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_a_checkpoint_is_refused(tmp_path, keras_weights, secret, attack):
    path = tmp_path / "weights.hdf5"
    path.write_bytes(keras_weights.read_bytes())
    replaced(path, STEM, attack, secret)
    with pytest.raises(WeightsError, match=ATTACKS[attack]) as raised:
        read_keras_weights(path, 5)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_checkpoint_of_more_classes_than_the_file_can_hold_is_refused(tmp_path, keras_weights):
    path = tmp_path / "weights.hdf5"
    path.write_bytes(keras_weights.read_bytes())
    with h5py.File(path, "r+") as file:
        for name, shape in (("kernel:0", (1280, 2**22)), ("bias:0", (2**22,))):
            del file[f"ClassProb/ClassProb_1/{name}"]
            zeros(file, f"ClassProb/ClassProb_1/{name}", shape, 2**12)
    assert path.stat().st_size < 2**26
    with pytest.raises(WeightsError, match="ClassProb_1/kernel:0 would take 21474836480 bytes"):
        read_keras_weights(path, 5)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_a_table_is_refused(tmp_path, secret, attack):
    path = table(tmp_path / "t.h5ad")
    replaced(path, "X", attack, secret)
    with pytest.raises(TableError, match=ATTACKS[attack]) as raised:
        read_profiles(path)
    assert "t.h5ad cannot be read as AnnData" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert anndata_plate(path) is None


def table(path, **how):
    rows = pd.DataFrame({"Metadata_Well": ["A01", "A02", "A03"]}, index=["a", "b", "c"])
    names = pd.DataFrame(index=["Cells_A", "Cells_B"])
    anndata.AnnData(np.ones((3, 2), "f4"), rows, names, **how).write_h5ad(path)
    return path


def test_a_sparse_table_is_not_written_out_beyond_what_the_file_can_hold(tmp_path):
    from scipy import sparse

    path = tmp_path / "t.h5ad"
    anndata.AnnData(
        sparse.csr_matrix(np.eye(3, 2, dtype="f4")), None, pd.DataFrame(index=["Cells_A", "B"])
    ).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        file["X"].attrs["shape"] = np.array([3, 2**40])
    with pytest.raises(TableError, match="its X would take 26388279066624 bytes of memory"):
        read_profiles(path)


def test_many_names_of_one_long_text_end_at_the_limit(tmp_path):
    path = table(tmp_path / "t.h5ad")
    text = "x" * 2**20
    with h5py.File(path, "r+") as file:
        names = file.create_dataset("uns/names", (20_000,), h5py.string_dtype())
        names[0] = text
        first = names.id.get_offset()
    # All point to the one text that is there.
    data = bytearray(path.read_bytes())
    data[first : first + 16 * 20_000] = data[first : first + 16] * 20_000
    path.write_bytes(data)
    with pytest.raises(TableError, match=r"wants more memory|memory allocation failed"):
        read_profiles(path)


def test_groups_that_hold_each_other_come_to_an_end(tmp_path):
    path = table(tmp_path / "t.h5ad")
    with h5py.File(path, "r+") as file:
        file["uns/a"] = file["uns"]
    with pytest.raises(TableError, match=r"t\.h5ad cannot be read as AnnData"):
        read_profiles(path)


def test_the_shapes_that_are_expected_are_those_of_the_network():
    from cpcnn_core.models.efficientnet import TappedEfficientNet

    network = TappedEfficientNet(4, "ClassProb", 7).weight_shapes()
    ours = {one.name: one.shape for one in _layout()}
    sizes = {"channels": 4, "classes": 7}
    assert {n: tuple(sizes.get(x, x) for x in shape) for n, shape in ours.items()} == network


def stranger(tmp_path, monkeypatch, text):
    """A module that is called in the library's place."""
    (tmp_path / "stranger.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "file").write_bytes(b"1")
    return tmp_path / "file"


def test_a_crash_is_told(tmp_path, monkeypatch):
    text = "import os, signal\ndef read_here(*_):\n    os.kill(os.getpid(), signal.SIGSEGV)\n"
    path = stranger(tmp_path, monkeypatch, text)
    with (
        pytest.raises(ReadingError, match=r"its library crashed over it \(SIGSEGV\)"),
        read_elsewhere("stranger", path),
    ):
        pass


def test_a_hang_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(untrusted_files, "SECONDS", 2)
    path = stranger(tmp_path, monkeypatch, "def read_here(*_):\n    while True:\n        pass\n")
    started = time.perf_counter()
    with (
        pytest.raises(ReadingError, match=r"had not read it after 2 s|crashed over it .SIGXCPU"),
        read_elsewhere("stranger", path),
    ):
        pass
    assert time.perf_counter() - started < 30


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps to such limits")
def test_memory_is_limited(tmp_path, monkeypatch):
    text = "def read_here(path, folder, allow):\n    allow(2**20)\n    bytearray(2**31)\n"
    path = stranger(tmp_path, monkeypatch, text)
    with (
        pytest.raises(ReadingError, match=r"wants more memory than such a file can need"),
        read_elsewhere("stranger", path),
    ):
        pass


def test_it_leaves_no_file_behind_and_loads_no_code_from_where_it_is_run(tmp_path, monkeypatch):
    path = table(tmp_path / "t.h5ad")
    (tmp_path / "h5py.py").write_text("import pathlib; pathlib.Path('run').touch()\n")
    (tmp_path / "plugins").mkdir()
    monkeypatch.setenv("HDF5_PLUGIN_PATH", str(tmp_path / "plugins"))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.chdir(tmp_path)
    assert len(read_profiles(path).metadata) == 3
    assert not (tmp_path / "run").exists()
    assert not list(temporary.iterdir())
