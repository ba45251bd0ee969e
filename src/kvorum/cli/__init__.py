"""The commands, thin: a generated table says what there is, pvedaemon does the work."""
