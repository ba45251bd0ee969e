"""Cloud-init: a guest's name, users, keys and addresses, on a small CD that its system reads at its first
start.
"""

from kvorum.guests.cloudinit.drive import CloudInit
from kvorum.guests.cloudinit.password import hashed
from kvorum.guests.cloudinit.settings import Cloud

__all__ = ["Cloud", "CloudInit", "hashed"]
