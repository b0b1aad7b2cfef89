"""CytoTable, run in a process and a home of its own."""

import json
import subprocess
import sys
from pathlib import Path

# It asks DuckDB for two extensions, which it would download: here they come from packages. For a
# few cells threads do, which are there sooner than processes.
CONVERT = """
import json, sys
from duckdb_extensions import import_extension
for name in ("sqlite_scanner", "httpfs"):
    import_extension(name)
import cytotable, parsl
if __name__ == "__main__":
    threads = parsl.Config(executors=[parsl.ThreadPoolExecutor()])
    print(cytotable.convert(**json.loads(sys.argv[1]), parsl_config=threads))
"""


def cytotable_convert(tmp_path, **arguments):
    """Convert with these arguments of ``cytotable.convert``; returns the parquet file's path."""
    home = tmp_path / "home"
    home.mkdir()
    script = tmp_path / "convert.py"
    script.write_text(CONVERT)
    environment = {"HOME": str(home), "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    out = tmp_path / "converted.parquet"
    options = {"dest_path": str(out), "dest_datatype": "parquet", **arguments}
    done = subprocess.run(
        [sys.executable, script, json.dumps(options)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out
