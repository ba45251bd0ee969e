"""The files in which users, rights and secrets are kept, each with a pure parser and printer."""
