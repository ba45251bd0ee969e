"""Consoles of guests: the display by RFB, serial ports as terminals, pictures of the display."""

from kvorum.guests.console.serial import SerialPorts

__all__ = ["SerialPorts"]
