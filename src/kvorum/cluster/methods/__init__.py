"""The API's methods about the cluster; importing this declares them."""

from kvorum.cluster.methods import information, membership

__all__ = ["information", "membership"]
