"""Believe an answer about models for some seconds: a settings window asks at every repaint."""

import json
import time

SECONDS = 10

_answers = {}


def forget():
    """Forget all answers: something that they depend on has changed."""
    _answers.clear()


def recall(settings, request, ask):
    """Return `ask(request)`, or what it returned or raised a moment ago with these settings."""
    key = (settings, json.dumps(request, sort_keys=True))
    said_at, answer = _answers.get(key, (None, None))
    if said_at is None or time.monotonic() - said_at > SECONDS:
        try:
            answer = ask(request)
        except RuntimeError as error:
            answer = error
        _answers[key] = time.monotonic(), answer
    if isinstance(answer, RuntimeError):
        raise RuntimeError(str(answer))
    return answer
