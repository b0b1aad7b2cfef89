"""The one error that the module shows to its user."""


class WorkerError(RuntimeError):
    """The worker cannot be started, has died, or says that it cannot do what was asked."""
