"""Links added, changed and removed while the cluster runs: what is asked first, in which steps, and back."""
