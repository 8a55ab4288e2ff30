"""`python -m metalayer.interfaces.cli` is `metalayer`."""

from metalayer.interfaces.cli import main

main()
