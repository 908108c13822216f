"""The command: `standby`, and `python -m standby`."""

import sys


def main() -> None:
    """Run a command line; the process ends with its status."""
    try:
        from standby.cli.app import main as run

        run()
    except KeyboardInterrupt:
        # What has begun says itself how it ended; this came while modules were still being imported.
        sys.stderr.write("Interrupted before anything was done.\n")
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
