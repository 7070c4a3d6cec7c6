"""`python -m legan` is the command `legan`."""

from legan.cli import main

if __name__ == "__main__":
    main()
