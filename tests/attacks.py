"""Expressions that do harm where they are executed, and how long nobody may need to refuse one.

tests/cpcnn_core/test_expressions.py has many more, on the function itself; these go
through every door that takes an expression.
"""

import contextlib
import signal

SECONDS = 60
# Each writes a file, or does not end, where pandas or Python evaluates it.
ATTACKS = {
    "pandas": "Treatment == 'DMSO' and @pd.io.common.os.system('touch {file}') == 0",
    "method": "Treatment.to_csv('{file}') == None",
    "import": "__import__('os').system('touch {file}') == 0",
    "hang": "9**9**9**9 == 1",
    "deep": "(" * 5000 + "Treatment == 'DMSO'" + ")" * 5000,
}


@contextlib.contextmanager
def refused_in_time(file):
    """Ask for an end in time, and that no attack has made its file."""

    def late(*_):
        raise TimeoutError(f"not refused within {SECONDS} s")

    # Windows has none: there a test that hangs is ended with all others.
    timed = hasattr(signal, "SIGALRM")
    before = signal.signal(signal.SIGALRM, late) if timed else None
    if timed:
        signal.alarm(SECONDS)
    try:
        yield
    finally:
        if timed:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
    assert not file.exists()


def is_refusal(text):
    """Whether a message is the sentence that refuses an expression."""
    return "cannot understand" in text and "\n" not in text.rstrip("\n")
