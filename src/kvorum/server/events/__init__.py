"""Server-sent events at ``/api2/events``: what changes in the cluster, and the lines of one task's log."""

from kvorum.server.events.endpoint import PATH, Events

__all__ = ["PATH", "Events"]
