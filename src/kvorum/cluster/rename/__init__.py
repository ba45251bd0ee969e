"""A node gets another name while the cluster runs: what is asked, what is rewritten, and in which steps."""
