"""The tests that take minutes each, which a usual run leaves out: their results and seconds.

Run it from the project's folder::

    python benchmarks/long_tests.py --record
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

from machine import machine

ROOT = Path(__file__).parents[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write long_tests.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-m", "long", "tests", f"--junitxml={report}"]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        cases = list(ET.parse(report).iter("testcase"))  # noqa: S314  (of this run)
    result = {
        "passed": sum(outcome(case) == "passed" for case in cases),
        "tests": {
            f"{case.get('classname').split('.')[-1]}::{case.get('name')}": {
                "result": outcome(case),
                "seconds": round(float(case.get("time"))),
            }
            for case in cases
        },
    }
    text = json.dumps(result | machine(), indent=2)
    print(text)
    if options.record:
        Path(__file__).with_suffix(".json").write_text(text + "\n")
    sys.exit(code)


def outcome(case):
    failed = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
    return failed[0] if failed else "passed"


if __name__ == "__main__":
    main()
