"""A guest's configuration: its text, its settings, its devices."""

from kvorum.guests.config.devices import Agent, Cpu, Disk, Machine, Nic, Vga
from kvorum.guests.config.document import Document
from kvorum.guests.config.model import GuestConfig

__all__ = ["Agent", "Cpu", "Disk", "Document", "GuestConfig", "Machine", "Nic", "Vga"]
