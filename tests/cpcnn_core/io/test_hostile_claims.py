"""Small files and short texts that want endless time or memory are refused."""

import bz2
import contextlib
import gzip
import io
import json
import lzma
import mmap
import sqlite3
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tifffile
from pyarrow import feather, parquet

from cpcnn_core.cli.messages import without_secrets
from cpcnn_core.errors import (
    ImageError,
    JsonError,
    ProfileError,
    SiteError,
    TableError,
    TrainingError,
)
from cpcnn_core.expressions import choose_rows
from cpcnn_core.hosts.install import HELPER_FOLDER, RECORD_FILE, read_record
from cpcnn_core.io import columnar, database_tables
from cpcnn_core.io.archives import open_archive
from cpcnn_core.io.columnar import require_believable_feather
from cpcnn_core.io.dataclass_json import read_dataclass
from cpcnn_core.io.deepprofiler import read_project
from cpcnn_core.io.images import read_plane
from cpcnn_core.io.profile_files import read_profiles
from cpcnn_core.io.spreadsheets import harmless
from cpcnn_core.io.tables import read_text_table
from cpcnn_core.profiles.cell_index import CELLS_FILE, INDEX_FILE, CellIndex
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.screen.job import Job
from cpcnn_core.screen.reports import JobResult
from cpcnn_core.training.config_files import read_config
from cpcnn_core.worker.protocol import MessageError, read_message

DEEP = 100_000
OME = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
    '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="4" '
    'SizeY="4" SizeC="1" SizeZ="1" SizeT="{t}"><TiffData IFD="0" PlaneCount="{count}"/></Pixels>'
    "</Image></OME>"
)


def rows_of(count):
    metadata = pd.DataFrame({"Metadata_Well": ["A01"] * count, "Metadata_b": [True] * count})
    return Profiles(np.ones((count, 1)), metadata, ["a"])


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (harmless, "1" * 50_000 + "x"),
        (without_secrets, "?token" * 3_000),
        (without_secrets, "?" + "token" * 10_000),
    ],
)
def test_long_texts_take_no_longer_than_they_are(read, text):
    start = time.monotonic()
    assert read(text) == text
    assert time.monotonic() - start < 5


def test_quotation_marks_that_none_closes_are_looked_at_once():
    start = time.monotonic()
    with pytest.raises(ProfileError, match="cannot understand"):
        choose_rows(rows_of(1), "\\'" * 10_000)
    assert time.monotonic() - start < 3


@pytest.mark.parametrize(
    "question",
    ["b and " * 400 + "b", f"Well in [{'1,' * 400}'A01']", "b == True" + " == True == b" * 200],
)
def test_parts_of_an_expression_are_not_kept_in_memory(question):
    profiles = rows_of(100_000)
    tracemalloc.start()
    try:
        choose_rows(profiles, question.replace("1,", "'B01',"))
    except ProfileError:
        pass
    finally:
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < 20e6


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (
            "with recursive t(n) as (select 1 union all select n + 1 from t) select n as x from t",
            "not answered|more than 250 times",
        ),
        ("select a.x from a, a b, a c, a d where a.x + b.x + c.x + d.x < 0", "not answered"),
        ("select hex(zeroblob(400000000)) as x", "too big"),
        ("select 'abc' as x from a, a b, a c", "more than 250 times"),
    ],
)
def test_views_of_a_database_cannot_ask_without_end(tmp_path, monkeypatch, view, words):
    monkeypatch.setattr(database_tables, "SECONDS", 3)
    path = tmp_path / "run.db"
    db = sqlite3.connect(path)
    db.execute("create table a (x)")
    db.executemany("insert into a values (?)", [(number,) for number in range(1000)])
    db.execute(f"create view v as {view}")
    db.commit()
    db.close()
    if "250" in words:
        monkeypatch.setattr(database_tables, "SECONDS", 100)
        monkeypatch.setattr("cpcnn_core.io.untrusted_files.ALWAYS_TRUSTED_BYTES", 2**22)
    with pytest.raises(TableError, match=words):
        database_tables.DatabaseTable(path, "v").texts()


def test_nothing_is_made_beside_a_database_that_is_read(tmp_path):
    path = tmp_path / "run.db"
    db = sqlite3.connect(path)
    db.execute("pragma journal_mode = wal")
    db.execute("create table v (x)")
    db.execute("insert into v values (1)")
    db.commit()
    db.close()
    assert database_tables.DatabaseTable(path, "v").texts().to_numpy().tolist() == [["1"]]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("opener", [gzip.open, bz2.open, lzma.open])
def test_compressed_text_cannot_grow_without_end(tmp_path, monkeypatch, encoding, opener):
    monkeypatch.setattr("cpcnn_core.io.untrusted_files.ALWAYS_TRUSTED_BYTES", 2**20)
    path = tmp_path / "a.csv.packed"
    with opener(path, "wb") as file:
        file.write(("Well,Dose\n" + "A01,1\n" * 300_000).encode(encoding))
    with pytest.raises(TableError, match="more than 250 times"):
        read_text_table(path)


@pytest.mark.parametrize(("t", "count"), [(10**9, 1), (2, 10**9)])
def test_ome_xml_cannot_claim_any_number_of_planes(tmp_path, t, count):
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path) as file:
        for text in (OME.format(t=t, count=count), None):
            file.write(np.ones((4, 4), np.uint16), description=text, metadata=None)
    with pytest.raises(ImageError, match="claims more planes"):
        read_plane(path, page=0)


def test_pages_cannot_claim_a_million_planes_each(tmp_path):
    path = tmp_path / "a.tif"
    text = json.dumps({"shape": [999_999, 4, 4], "truncated": True})
    with tifffile.TiffWriter(path) as file:
        for _ in range(20):
            file.write(np.ones((4, 4), np.uint16), description=text, metadata=None)
    with pytest.raises(ImageError, match="pages claim"):
        read_plane(path, page=0)


def test_only_the_arrays_of_an_archive_may_be_deflated(tmp_path):
    path = tmp_path / "a.cpcnn"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("session.json", "[" + "[]," * 1000 + "[]]")
    with pytest.raises(ValueError, match="compressed"), open_archive(path, compressed=".npy"):
        pass


def test_json_and_toml_that_are_nested_deeply_are_refused(tmp_path):
    table = pa.table({"Metadata_Well": ["A1"], "CPCNN_000": [0.0]})
    path = tmp_path / "a.parquet"
    parquet.write_table(table.replace_schema_metadata({"cpcnn": "[" * DEEP}), path)
    with pytest.raises(TableError, match="JSON"):
        read_profiles(path)
    Path(tmp_path, "train.toml").write_text("a = " + "[" * DEEP)
    with pytest.raises(TrainingError, match="TOML"):
        read_config(tmp_path / "train.toml")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is told by Linux")
def test_one_long_text_that_many_rows_name_is_in_memory_once(tmp_path):
    path, text, rows = tmp_path / "wells.parquet", "A" * 2**20, 1_000
    names = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([text]))
    columns = {"Metadata_Well": names, "Metadata_b": names, "Cells_1": pa.array(np.ones(rows))}
    parquet.write_table(pa.table(columns), path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 10_000
    code = (
        "import sys\n"
        "from cpcnn_core.io.profile_files import read_profiles\n"
        "wells = read_profiles(sys.argv[1])\n"
        "assert len(wells.metadata) == 1000\n"
        "assert len(wells.metadata['Metadata_Well'][999]) == 2**20\n"
        "told = open('/proc/self/status').read().splitlines()\n"
        "print(*[line.split()[1] for line in told if line.startswith('VmHWM')])\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    # Each of both columns would take 1 GB.
    assert int(done.stdout) < 600 * 1024


NESTED = "[" * DEEP + "]" * DEEP


def test_settings_that_are_nested_too_deeply_are_refused_everywhere(tmp_path):
    config = tmp_path / "inputs" / "config"
    config.mkdir(parents=True)
    for text in (NESTED, '{"dataset": {"images": {"height": 1e999, "width": 1}, "locations": {}}}'):
        (config / "config.json").write_text(text)
        with pytest.raises(SiteError, match=r"config\.json"):
            read_project(tmp_path)
    (tmp_path / HELPER_FOLDER).mkdir()
    (tmp_path / HELPER_FOLDER / RECORD_FILE).write_text(NESTED)
    assert read_record(tmp_path) == {}
    for kind in (Job, JobResult):
        (tmp_path / "job.json").write_text(NESTED)
        with pytest.raises(JsonError, match=r"job\.json cannot be read as JSON"):
            read_dataclass(tmp_path / "job.json", kind)
    message = io.BytesIO(struct.pack("<I", len(NESTED)) + NESTED.encode())
    with pytest.raises(MessageError, match="expected a message header in JSON"):
        read_message(message)


def test_an_index_of_cells_whose_facts_are_no_facts_is_refused(tmp_path):
    pytest.importorskip("faiss")
    (tmp_path / INDEX_FILE).write_bytes(b"index")
    for facts in ({b"cpcnn": NESTED.encode()}, {b"cpcnn": b"{"}, {b"other": b""}, None):
        table = pa.table({"Metadata_Well": ["A01"]}).replace_schema_metadata(facts)
        parquet.write_table(table, tmp_path / CELLS_FILE)
        with pytest.raises(ProfileError, match="cannot be read as an index of cells"):
            CellIndex.load(tmp_path)


@pytest.mark.parametrize("compression", ["zstd", "lz4", "uncompressed"])
@pytest.mark.parametrize("chunks", [1, 3])
def test_what_a_feather_file_claims_is_what_it_takes(tmp_path, compression, chunks):
    random = np.random.default_rng(0)
    names = pa.array(["A01", None, "B02"] * 1000).dictionary_encode()
    columns = {
        "Metadata_Well": names,
        "Metadata_text": [f"text {n}" for n in range(3000)],
        "a": np.zeros(3000),
        "b": random.normal(size=3000),
    }
    table, path = pa.table(columns), tmp_path / "t.feather"
    feather.write_feather(table, path, compression=compression, chunksize=3000 // chunks)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        claimed = sum(columnar._claims(data))
    if compression == "uncompressed":
        assert claimed == 0
    else:
        # What is too small to be compressed, and filled up to 8 bytes, is counted otherwise.
        assert claimed == pytest.approx(table.nbytes, rel=0.02)
    require_believable_feather(path)


# LZ4 never makes more than 255 bytes of one.
@pytest.mark.parametrize("column", ["zeros", "texts"])
def test_a_feather_file_that_unpacks_to_far_more_is_refused(tmp_path, column):
    texts = pa.array(["A" * 1000])
    values = np.zeros(70_000_000) if column == "zeros" else texts.take([0] * 560_000)
    path = tmp_path / "bomb.feather"
    feather.write_feather(pa.table({"Metadata_x": values}), path, compression="zstd")
    assert path.stat().st_size < 2**21
    with pytest.raises(TableError, match="times what the file has"):
        read_text_table(path)


def test_a_feather_file_with_any_byte_changed_ends_in_a_sentence(tmp_path):
    path = tmp_path / "t.feather"
    feather.write_feather(pa.table({"Metadata_x": ["a", "b"], "y": [1.0, 2]}), path)
    content, random = path.read_bytes(), np.random.default_rng(0)
    for place in random.integers(0, len(content), 200):
        changed = bytearray(content)
        changed[place] ^= int(random.integers(1, 256))
        path.write_bytes(changed)
        with contextlib.suppress(OSError):
            require_believable_feather(path)
