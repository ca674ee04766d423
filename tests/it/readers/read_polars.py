"""Polars. The schema keeps a user id that looks like a number a text.

Polars (2.1) asks for a file's length and opens the file later, so it cannot read a tree in which
files are replaced meanwhile, however they are: it reads one of hard links.
"""

import polars as pl

from common import PARTITIONS, linked, main


def read(folder, table):
    schema = {"user_id": pl.String} | {name: pl.Int32 for name in PARTITIONS[table]}
    with linked(folder) as tree:
        frame = pl.scan_parquet(tree, hive_partitioning=True, hive_schema=schema).collect()
    return frame.to_dicts()


main(read)
