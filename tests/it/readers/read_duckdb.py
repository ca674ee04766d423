"""DuckDB. `hive_types` keeps a user id that looks like a number a text."""

import duckdb

from common import main


def read(folder, table):
    query = f"""
        SELECT * FROM read_parquet('{folder}/**/*.parquet', hive_partitioning = true,
                                   hive_types = {{'user_id': VARCHAR}})
    """
    return duckdb.sql(query).to_arrow_table().to_pylist()


main(read)
