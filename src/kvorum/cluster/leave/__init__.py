"""Leaving: what is asked before a node goes, what of it is taken out of the cluster, what it does then."""
