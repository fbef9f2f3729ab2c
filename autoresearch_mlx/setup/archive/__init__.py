"""Sessions as one file: pack, restore, and clean up."""
