"""A guest's machine: QEMU's command line, process and connection, and what this node can run."""
