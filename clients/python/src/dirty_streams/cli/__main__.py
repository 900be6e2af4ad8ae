"""`python -m dirty_streams.cli`."""

from . import main

main()
