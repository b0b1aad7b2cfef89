"""Every verb disturbed at random moments and at its writes, run again, and compared.

A run is killed, asked to end, loses the reader of its output, or one of its calls of `os.replace`,
`os.fsync` and `open` fails, finds the disk full from then on, or is the last that it does. What the
second run leaves must be the bytes of an undisturbed run of another Python process. The short form
is ``tests/test_interruptions.py``. Run it from the project's folder::

    python benchmarks/interruptions.py --record
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

from machine import machine

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.fault_injection import CLOSED, NOT_COMPARED, Laboratory, failing_writes, moments

MOMENTS = 20


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write interruptions.json")
    parser.add_argument("--verbs", nargs="+", metavar="VERB", help="these; others stay on record")
    parser.add_argument(
        "--most", type=int, metavar="N", help="N writes of each kind of call, not every one"
    )
    options = parser.parse_args()
    path = Path(__file__).with_suffix(".json")
    verbs = json.loads(path.read_text())["verbs"] if options.verbs and path.exists() else {}
    with tempfile.TemporaryDirectory() as folder, Laboratory(Path(folder)) as laboratory:
        names = options.verbs or laboratory.verbs
        undisturbed = {name: laboratory.undisturbed(name) for name in names}
        laboratory.restart()
        for name in names:
            verbs[name] = disturb(laboratory, name, *undisturbed[name], options.most)
            text = report(verbs)
            if options.record:
                path.write_text(text + "\n")
    print(text)


def report(verbs):
    result = {
        "disturbed": "at random moments by signals; at writes, all of them or as many drawn at "
        "random; by a reader that has gone",
        "random moments of each verb": MOMENTS,
        "verbs": verbs,
        "problems in all": sum(len(verb["problems"]) for verb in verbs.values()),
        "not compared": NOT_COMPARED,
        **machine(),
    }
    return json.dumps(result, indent=2)


def disturb(laboratory, name, expected, seconds, counts, most):
    writes = failing_writes(name, counts, most)
    statuses, problems = Counter(), []
    for fault in (*moments(name, seconds, MOMENTS), *writes, CLOSED):
        status, found = laboratory.disturbed(name, fault, expected)
        statuses[str(status)] += 1
        problems += [f"{json.dumps(fault)}: {problem}" for problem in found]
    print(name, dict(statuses), *problems, sep="\n  ", file=sys.stderr, flush=True)
    return {
        "undisturbed, s": round(seconds, 1),
        "files compared": len(expected),
        "calls that write": counts,
        "of which disturbed": dict(Counter(fault["call"] for fault in writes)),
        "runs by exit status of the disturbed": dict(sorted(statuses.items())),
        "problems": problems,
    }


if __name__ == "__main__":
    main()
