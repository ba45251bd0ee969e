"""What goes into the test guest's disk image, and how what it leaves on its disks is read."""
