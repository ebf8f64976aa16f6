"""`python -m cli`, the same as `skyloop`."""

from cli.main import main

main()
