"""`python -m forecast` is the command `forecast`."""

from forecast.cli.main import main

main()
