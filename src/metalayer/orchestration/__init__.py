"""What is done, in which order, and what happens when it fails.

`plan` decides and is pure; `execute` acts and is thin. Nothing here knows SQL, files or a terminal.
"""
