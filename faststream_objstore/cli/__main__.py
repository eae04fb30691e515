"""`python -m faststream_objstore.cli` is `objstore`."""

from faststream_objstore.cli import main

if __name__ == "__main__":
    main()
