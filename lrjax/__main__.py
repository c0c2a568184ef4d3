"""`python -m lrjax`."""

from lrjax.cli.main import main

main()
