//! Rows as Arrow arrays and back, column by column.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, Float64Array, Int64Array, ListBuilder, StringArray,
    StringBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;

use super::ParquetError;
use super::list_text::{elements, push_element};
use super::schema::{UTC, list_element};
use crate::domain::{Cell, Kind, Micros, RecordId, Row, RowBuilder, Table, UserId};

/// One array a column of the table, in its order.
pub(super) fn arrays(table: Table, user: &UserId, rows: &[Arc<Row>]) -> Vec<ArrayRef> {
    let columns = table.spec().columns.iter().enumerate();
    columns.map(|(index, column)| array(index, column.kind, user, rows)).collect()
}

fn array(index: usize, kind: Kind, user: &UserId, rows: &[Arc<Row>]) -> ArrayRef {
    match kind {
        Kind::Id => texts(rows.iter().map(|r| Some(r.id.as_str()))),
        Kind::UserId => texts(rows.iter().map(|_| Some(user.as_str()))),
        Kind::Text | Kind::Enum(_) | Kind::Json(_) | Kind::Extra => {
            texts(rows.iter().map(|r| text(r, index)))
        }
        Kind::TextList { numbers } => lists(rows.iter().map(|r| text(r, index)), numbers),
        Kind::CreatedAt => times(rows.iter().map(|r| Some(r.created_at.get()))),
        Kind::UpdatedAt => times(rows.iter().map(|r| Some(r.updated_at.get()))),
        Kind::Timestamp => times(rows.iter().map(|r| match r.cell(index) {
            Cell::Time(at) => Some(at.get()),
            _ => None,
        })),
        Kind::Version => Arc::new(rows.iter().map(|r| Some(r.version)).collect::<Int64Array>()),
        Kind::Int64 => Arc::new(rows.iter().map(|r| int(r, index)).collect::<Int64Array>()),
        Kind::Double => Arc::new(rows.iter().map(|r| double(r, index)).collect::<Float64Array>()),
        Kind::Sealed => {
            let mut builder = BinaryBuilder::new();
            for row in rows {
                builder.append_option(row.sealed());
            }
            Arc::new(builder.finish())
        }
    }
}

fn text(row: &Row, index: usize) -> Option<&str> {
    match row.cell(index) {
        Cell::Text(text) | Cell::Json(text) => Some(text),
        _ => None,
    }
}

fn int(row: &Row, index: usize) -> Option<i64> {
    if let Cell::Int(n) = row.cell(index) { Some(n) } else { None }
}

fn double(row: &Row, index: usize) -> Option<f64> {
    if let Cell::Double(d) = row.cell(index) { Some(d) } else { None }
}

fn texts<'a>(values: impl Iterator<Item = Option<&'a str>> + Clone) -> ArrayRef {
    let bytes = values.clone().flatten().map(str::len).sum();
    let mut builder = StringBuilder::with_capacity(values.size_hint().0, bytes);
    values.for_each(|v| builder.append_option(v));
    Arc::new(builder.finish())
}

fn times(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone(UTC))
}

fn lists<'a>(values: impl Iterator<Item = Option<&'a str>>, numbers: bool) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new()).with_field(list_element());
    for value in values {
        // Validation lets nothing but arrays into a list; other text is kept as the one element.
        match value.map(|text| (text, elements(text, numbers))) {
            None => builder.append_null(),
            Some((_, Some(items))) => {
                for item in &items {
                    builder.values().append_option(item.as_deref());
                }
                builder.append(true);
            }
            Some((text, None)) => {
                builder.values().append_value(text);
                builder.append(true);
            }
        }
    }
    Arc::new(builder.finish())
}

/// The rows of a batch whose column `i` is the table's column `columns[i]`.
///
/// # Errors
/// [`ParquetError::Corrupt`] where a column has another type, a value that no row may lack is
/// null, or an id is none.
pub(super) fn rows(
    table: Table,
    batch: &RecordBatch,
    columns: &[usize],
) -> Result<Vec<Row>, ParquetError> {
    let mut builders = vec![Row::build(table); batch.num_rows()];
    let mut heads = Heads::default();
    for (array, index) in batch.columns().iter().zip(columns) {
        let Some(column) = table.spec().columns.get(*index) else { continue };
        let mut set = |row: usize, cell: Cell<'_>| {
            if let Some(builder) = builders.get_mut(row) {
                builder.set(*index, cell);
            }
        };
        let typed = match column.kind {
            Kind::Id => ids(array).map(|ids| heads.ids = ids),
            Kind::CreatedAt => instants(array).map(|at| heads.created_at = at),
            Kind::UpdatedAt => instants(array).map(|at| heads.updated_at = at),
            Kind::Version => array.as_primitive_opt::<Int64Type>().map(|versions| {
                heads.versions = versions.iter().map(|v| v.unwrap_or(1)).collect();
            }),
            Kind::UserId => Some(()),
            Kind::Text | Kind::Enum(_) => array.as_string_opt::<i32>().map(|texts| {
                each(texts.iter(), |row, text| set(row, Cell::Text(text)));
            }),
            Kind::Json(_) | Kind::Extra => array.as_string_opt::<i32>().map(|texts| {
                each(texts.iter(), |row, text| set(row, Cell::Json(text)));
            }),
            Kind::TextList { numbers } => list_texts(array, numbers, &mut set),
            Kind::Timestamp => array.as_primitive_opt::<TimestampMicrosecondType>().map(|times| {
                each(times.iter(), |row, at| set(row, Cell::Time(Micros::new(at))));
            }),
            Kind::Int64 => array.as_primitive_opt::<Int64Type>().map(|numbers| {
                each(numbers.iter(), |row, n| set(row, Cell::Int(n)));
            }),
            Kind::Double => array.as_primitive_opt::<Float64Type>().map(|numbers| {
                each(numbers.iter(), |row, d| set(row, Cell::Double(d)));
            }),
            Kind::Sealed => array.as_binary_opt::<i32>().map(|sealed| {
                for (builder, bytes) in builders.iter_mut().zip(sealed.iter()) {
                    builder.set_sealed(bytes.map(Box::from));
                }
            }),
        };
        typed.ok_or_else(|| {
            ParquetError::corrupt(format!("the values of column {}", column.name))
        })?;
    }
    heads.join(builders)
}

fn each<T>(values: impl Iterator<Item = Option<T>>, mut then: impl FnMut(usize, T)) {
    for (row, value) in values.enumerate() {
        if let Some(value) = value {
            then(row, value);
        }
    }
}

fn list_texts(
    array: &ArrayRef,
    numbers: bool,
    set: &mut impl FnMut(usize, Cell<'_>),
) -> Option<()> {
    let lists = array.as_list_opt::<i32>()?;
    let mut json = String::new();
    for (row, list) in lists.iter().enumerate() {
        let Some(list) = list else { continue };
        json.clear();
        json.push('[');
        for (at, item) in list.as_string_opt::<i32>()?.iter().enumerate() {
            if at > 0 {
                json.push(',');
            }
            if !push_element(item, numbers, &mut json) {
                return None;
            }
        }
        json.push(']');
        set(row, Cell::Json(&json));
    }
    Some(())
}

/// The ids of an id column; nothing where one is null or none.
pub(super) fn ids(array: &ArrayRef) -> Option<Vec<RecordId>> {
    let texts: &StringArray = array.as_string_opt()?;
    texts.iter().map(|id| RecordId::checked(id?).ok()).collect()
}

fn instants(array: &ArrayRef) -> Option<Vec<Micros>> {
    let times = array.as_primitive_opt::<TimestampMicrosecondType>()?;
    (times.null_count() == 0).then(|| times.values().iter().map(|t| Micros::new(*t)).collect())
}

/// What every row has, by column.
#[derive(Default)]
struct Heads {
    ids: Vec<RecordId>,
    created_at: Vec<Micros>,
    updated_at: Vec<Micros>,
    versions: Vec<i64>,
}

impl Heads {
    fn join(self, builders: Vec<RowBuilder>) -> Result<Vec<Row>, ParquetError> {
        let rows = builders.len();
        let lens =
            [self.ids.len(), self.created_at.len(), self.updated_at.len(), self.versions.len()];
        if lens.iter().any(|len| *len != rows) {
            return Err(ParquetError::corrupt("a column that every row has is missing"));
        }
        let heads =
            self.ids.into_iter().zip(self.created_at).zip(self.updated_at).zip(self.versions);
        let joined = builders.into_iter().zip(heads);
        Ok(joined
            .map(|(builder, (((id, created), updated), version))| {
                builder.finish(id, created, updated, version)
            })
            .collect())
    }
}
