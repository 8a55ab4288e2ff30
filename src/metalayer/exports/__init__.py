"""Exports: tables leave the lake for other databases and files, as a role sees them, each with a cursor.

The cursor lies at the destination and moves with the rows. Nothing here decides what may be seen (`governance` does)
or how much has to go (`core.export` does).
"""
