"""`python -m hashgcn`: the command line, where its entry point is not on the path."""

from hashgcn.cli import main

if __name__ == "__main__":
    main()
