"""pyarrow. The schema keeps a user id that looks like a number a text."""

import pyarrow as pa
import pyarrow.dataset as ds

from common import PARTITIONS, main


def read(folder, table):
    fields = [("user_id", pa.string())] + [(name, pa.int32()) for name in PARTITIONS[table]]
    partitioning = ds.partitioning(pa.schema(fields), flavor="hive")
    return ds.dataset(folder, partitioning=partitioning).to_table().to_pylist()


main(read)
