"""What all tests share: hypothesis judges by what it finds, never by how long a loaded machine takes."""

from hypothesis import settings

settings.register_profile("kvorum", deadline=None)
settings.load_profile("kvorum")
