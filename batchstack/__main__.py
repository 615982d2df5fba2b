"""`python -m batchstack` is `batchstack`."""

from batchstack.cli.main import main

if __name__ == "__main__":
    main()
