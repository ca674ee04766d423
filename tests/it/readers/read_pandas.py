"""pandas. Its default reads partition columns as categories, which do not go with the column
`user_id` in the files: the partitioning is named."""

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds

from common import PARTITIONS, main


def plain(value):
    """A cell as Python has it."""
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime()
    if hasattr(value, "tolist"):
        return value.tolist()
    return value if isinstance(value, list) or not pd.isna(value) else None


def read(folder, table):
    fields = [("user_id", pa.string())] + [(name, pa.int32()) for name in PARTITIONS[table]]
    partitioning = ds.partitioning(pa.schema(fields), flavor="hive")
    frame = pd.read_parquet(folder, partitioning=partitioning, dtype_backend="pyarrow")
    for row in frame.to_dict("records"):
        yield {column: plain(value) for column, value in row.items()}


main(read)
