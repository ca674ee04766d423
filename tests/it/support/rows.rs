//! The rows of Parquet files, read without the server.

use std::fs::File;
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::files::paths;

/// What identifies a row, and which state of it a file holds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Stored {
    /// The table's folder.
    pub table: String,
    /// The user, as the row says.
    pub user: String,
    /// The id.
    pub id: String,
    /// The version; 0 where the file has none.
    pub version: i64,
    /// The file, relative to the data folder.
    pub file: String,
}

/// The batches of a Parquet file.
pub fn batches(path: &Path) -> Vec<RecordBatch> {
    let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|b| b.build());
    let reader = reader.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    reader.map(|batch| batch.unwrap_or_else(|e| panic!("{}: {e}", path.display()))).collect()
}

/// The names of a Parquet file's columns.
pub fn columns(path: &Path) -> Vec<String> {
    let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
    builder.schema().fields().iter().map(|f| f.name().clone()).collect()
}

/// Every row of every file of the three tables, sorted.
pub fn stored(data: &Path) -> Vec<Stored> {
    let mut all = Vec::new();
    for table in ["audiences", "platforms", "distributions"] {
        for (name, path) in paths(&data.join(table)) {
            if Path::new(&name).extension().is_none_or(|e| e != "parquet") {
                continue;
            }
            for batch in batches(&path) {
                let text = |column: &str| {
                    let column = batch.column_by_name(column).expect("column");
                    let column = arrow::compute::cast(column, &arrow::datatypes::DataType::Utf8);
                    column.expect("text")
                };
                let ids = text(&format!("{}_id", table.trim_end_matches('s')));
                let users = text("user_id");
                let versions = batch.column_by_name("version");
                for row in 0..batch.num_rows() {
                    let version = versions.and_then(|v| v.as_primitive_opt::<Int64Type>());
                    all.push(Stored {
                        table: table.to_owned(),
                        user: users.as_string::<i32>().value(row).to_owned(),
                        id: ids.as_string::<i32>().value(row).to_owned(),
                        version: version.filter(|v| v.is_valid(row)).map_or(0, |v| v.value(row)),
                        file: format!("{table}/{name}"),
                    });
                }
            }
        }
    }
    all.sort();
    all
}

/// Every row, after checking that no id of a user's table is there twice.
pub fn stored_once(data: &Path) -> Vec<Stored> {
    let all = stored(data);
    for pair in all.windows(2) {
        let same = |s: &Stored| (s.table.clone(), s.user.clone(), s.id.clone());
        assert_ne!(same(&pair[0]), same(&pair[1]), "twice: {pair:?}");
    }
    all
}
