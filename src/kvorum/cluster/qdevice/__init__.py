"""The QDevice: a vote that a machine outside of the cluster gives (corosync-qdevice(8), corosync-qnetd(8)).

What the store has is what counts: the quorum device in corosync.conf, and the cluster's certificate for QNetd
in ``priv/qdevice``. Every node makes itself what these say (``follower.py``), also one that was off meanwhile
or joins later. ``changes.py`` brings the store from one such state to another.
"""
