//! A table's columns as Arrow fields and Parquet types. Column `i` of the table is field `i` and
//! leaf `i`: every column has exactly one leaf.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use ::parquet::arrow::{ARROW_SCHEMA_META_KEY, ArrowSchemaConverter, encode_arrow_schema};
use ::parquet::errors::Result as CrateResult;
use ::parquet::file::metadata::KeyValue;
use ::parquet::schema::types::SchemaDescriptor;

use crate::domain::{Kind, Table};

/// The time zone of every timestamp column.
pub(super) const UTC: &str = "UTC";
/// The element of a list column, as the Parquet format names it.
const ELEMENT: &str = "element";

/// The Arrow schema of a table's files.
#[must_use]
pub fn arrow_schema(table: Table) -> SchemaRef {
    let fields = table.spec().columns.iter().map(|c| field(c.name, c.kind));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn field(name: &str, kind: Kind) -> Field {
    let nullable = !matches!(kind, Kind::Id | Kind::UserId | Kind::CreatedAt | Kind::UpdatedAt);
    let field = Field::new(name, data_type(kind), nullable);
    match kind {
        // The canonical `arrow.json` extension is what makes Parquet's JSON logical type.
        Kind::Json(_) | Kind::Extra => field.with_metadata(HashMap::from([
            ("ARROW:extension:name".to_owned(), "arrow.json".to_owned()),
            ("ARROW:extension:metadata".to_owned(), String::new()),
        ])),
        _ => field,
    }
}

fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Id | Kind::UserId | Kind::Text | Kind::Enum(_) | Kind::Json(_) | Kind::Extra => {
            DataType::Utf8
        }
        Kind::CreatedAt | Kind::UpdatedAt | Kind::Timestamp => {
            DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()))
        }
        Kind::Int64 | Kind::Version => DataType::Int64,
        Kind::Double => DataType::Float64,
        Kind::TextList { .. } => DataType::List(list_element()),
        Kind::Sealed => DataType::Binary,
    }
}

/// The field of a list's elements.
pub(super) fn list_element() -> Arc<Field> {
    Arc::new(Field::new(ELEMENT, DataType::Utf8, true))
}

/// The footer pair that tells Arrow readers the column types. Parquet's own types say the same but
/// for one thing: Polars (2.1) takes the JSON logical type for binary unless an Arrow schema calls
/// the column text. It names plain text, not the extension, which text functions do not take.
pub(super) fn arrow_hint(schema: &Schema) -> KeyValue {
    let plain = schema.fields().iter().map(|f| f.as_ref().clone().with_metadata(HashMap::new()));
    let encoded = encode_arrow_schema(&Schema::new(plain.collect::<Vec<_>>()));
    KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), encoded)
}

/// The Parquet schema of a table's files.
pub(super) fn parquet_schema(schema: &Schema) -> CrateResult<SchemaDescriptor> {
    ArrowSchemaConverter::new().schema_root("schema").convert(schema)
}

#[cfg(test)]
mod tests {
    use ::parquet::basic::{LogicalType, Type};

    use super::*;

    #[test]
    fn each_column_has_its_type_and_one_leaf() {
        for table in Table::ALL {
            let schema = parquet_schema(&arrow_schema(table)).expect("schema");
            assert_eq!(schema.num_columns(), table.spec().columns.len(), "{table}");
            for (leaf, column) in schema.columns().iter().zip(table.spec().columns) {
                let logical = leaf.logical_type_ref();
                let fits = match column.kind {
                    Kind::Json(_) | Kind::Extra => logical == Some(&LogicalType::Json),
                    Kind::CreatedAt | Kind::UpdatedAt | Kind::Timestamp => {
                        format!("{logical:?}").contains("adjusted")
                            && leaf.physical_type() == Type::INT64
                    }
                    Kind::Int64 | Kind::Version => leaf.physical_type() == Type::INT64,
                    Kind::Double => leaf.physical_type() == Type::DOUBLE,
                    Kind::Sealed => logical.is_none() && leaf.physical_type() == Type::BYTE_ARRAY,
                    Kind::TextList { .. } => {
                        leaf.path().string() == format!("{}.list.element", column.name)
                            && logical == Some(&LogicalType::String)
                    }
                    _ => logical == Some(&LogicalType::String),
                };
                assert!(fits, "{table}.{}: {logical:?}", column.name);
            }
        }
    }
}
