"""Tasks: what takes long, with an id (UPID), a log that can be followed, and an end that is always noted."""

from kvorum.tasks.record import OK, TaskRecord
from kvorum.tasks.runner import TaskRunner

__all__ = ["OK", "TaskRecord", "TaskRunner"]
