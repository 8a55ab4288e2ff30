"""Frozen values and pure functions: the words of MetaLayer.

Nothing in this room does I/O, reads a clock or knows a database, a file or a user. Every other room may import it.
"""
