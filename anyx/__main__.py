"""`python -m anyx`: the command line."""

from anyx.commands import main

if __name__ == "__main__":
    main()
