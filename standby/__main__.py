"""`python -m standby`."""

from standby.cli.app import main

main()
