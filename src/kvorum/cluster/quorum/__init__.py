"""Quorum explained, purely: whether there is one, which losses cost it, and what brings it back."""

from kvorum.cluster.quorum.cautions import Caution, cautions
from kvorum.cluster.quorum.explanation import Explanation, StoreWord, explain
from kvorum.cluster.quorum.losses import Choice, Sets, losses, returns
from kvorum.cluster.quorum.shape import DEVICE, Device, Rules, Shape, Voter, goes_on, holds

__all__ = [
    "DEVICE",
    "Caution",
    "Choice",
    "Device",
    "Explanation",
    "Rules",
    "Sets",
    "Shape",
    "StoreWord",
    "Voter",
    "cautions",
    "explain",
    "goes_on",
    "holds",
    "losses",
    "returns",
]
