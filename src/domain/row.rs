//! A record as the store holds it: a fixed head, and the other columns' values packed into one
//! text. Two allocations a row, cheap to render, to filter and to write as columns.

use super::json_text::push_string;
use super::{Kind, Micros, RecordId, Table, UserId};

/// One record of one table. The owner is not in it: the partition knows whose it is.
#[derive(Clone, Debug)]
pub struct Row {
    /// The record's id.
    pub id: RecordId,
    /// When it was created; decides the partition of a monthly table.
    pub created_at: Micros,
    /// When it last changed.
    pub updated_at: Micros,
    /// 1, and one more with each change; the record's `ETag`.
    pub version: i64,
    table: Table,
    present: u32,
    slots: Box<[u64]>,
    text: Box<str>,
    sealed: Option<Box<[u8]>>,
}

/// Rows are equal where their values are, however they are packed.
impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        let head = |r: &Self| (r.table, r.created_at, r.updated_at, r.version, r.present);
        head(self) == head(other)
            && self.id == other.id
            && self.sealed == other.sealed
            && (0..self.slots.len()).all(|i| self.cell(i) == other.cell(i))
    }
}

/// A column's value, borrowed from a row or on its way into one.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Cell<'a> {
    /// No value.
    Null,
    /// An integer.
    Int(i64),
    /// A double.
    Double(f64),
    /// An instant.
    Time(Micros),
    /// Text, of a text or closed-set column.
    Text(&'a str),
    /// Compact JSON, of a JSON, list or extra column.
    Json(&'a str),
}

impl Row {
    /// Begins a row of `table` without any values.
    #[must_use]
    pub fn build(table: Table) -> RowBuilder {
        Self::build_for(table, 0)
    }

    /// Begins a row whose texts will take about `bytes`.
    #[must_use]
    pub fn build_for(table: Table, bytes: usize) -> RowBuilder {
        RowBuilder {
            table,
            present: 0,
            slots: vec![0; table.spec().columns.len()],
            text: String::with_capacity(bytes),
            has_waste: false,
            sealed: None,
        }
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> Table {
        self.table
    }

    /// The value of the column at `index`. Columns of the head ([`Kind::Id`], [`Kind::Version`]
    /// and the like) and sealed ones are `Null` here.
    #[must_use]
    pub fn cell(&self, index: usize) -> Cell<'_> {
        cell_at(self.table, self.present, &self.slots, &self.text, index)
    }

    /// The value of a text column by name.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.cell(self.table.spec().column(name)?.0) {
            Cell::Text(text) | Cell::Json(text) => Some(text),
            _ => None,
        }
    }

    /// The sealed credentials, where the table has such a column.
    #[must_use]
    pub fn sealed(&self) -> Option<&[u8]> {
        self.sealed.as_deref()
    }

    /// Bytes the row takes in memory, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of::<Self>()
            + self.id.as_str().len()
            + self.slots.len() * 8
            + self.text.len()
            + self.sealed.as_ref().map_or(0, |s| s.len())
            + 16
    }

    /// A builder that holds this row's values, to change some of them.
    #[must_use]
    pub fn edit(&self) -> RowBuilder {
        let packed = packed(self.table, self.text.len(), |index| self.cell(index));
        RowBuilder { sealed: self.sealed.clone(), ..packed }
    }

    /// Appends the row as a JSON object: known columns in their order, then what `extra` keeps.
    /// With `fields`, only the columns and extra fields it names. Sealed bytes are never in it:
    /// `sealed_view` makes what stands in their place.
    pub fn render(
        &self,
        user: &UserId,
        fields: Option<&dyn Fn(&str) -> bool>,
        sealed_view: &dyn Fn(&[u8], &mut String),
        out: &mut String,
    ) {
        out.push('{');
        let begin = out.len();
        for (index, column) in self.table.spec().columns.iter().enumerate() {
            if matches!(column.kind, Kind::Extra) || fields.is_some_and(|wants| !wants(column.name))
            {
                continue;
            }
            if out.len() > begin {
                out.push(',');
            }
            out.push('"');
            out.push_str(column.name);
            out.push_str("\":");
            match column.kind {
                Kind::Id => push_string(self.id.as_str(), out),
                Kind::UserId => push_string(user.as_str(), out),
                Kind::CreatedAt => push_time(self.created_at, out),
                Kind::UpdatedAt => push_time(self.updated_at, out),
                Kind::Version => out.push_str(itoa::Buffer::new().format(self.version)),
                Kind::Sealed => match &self.sealed {
                    Some(sealed) => sealed_view(sealed, out),
                    None => out.push_str("null"),
                },
                _ => push_cell(self.cell(index), out),
            }
        }
        self.render_extra(fields, begin, out);
        out.push('}');
    }

    fn render_extra(&self, fields: Option<&dyn Fn(&str) -> bool>, begin: usize, out: &mut String) {
        let Some(extra) = self.extra() else { return };
        let comma = |out: &mut String| {
            if out.len() > begin {
                out.push(',');
            }
        };
        let Some(wants) = fields else {
            if let Some(inner) = extra.strip_prefix('{').and_then(|e| e.strip_suffix('}'))
                && !inner.is_empty()
            {
                comma(out);
                out.push_str(inner);
            }
            return;
        };
        for (name, value) in super::object::fields_of(extra) {
            if wants(&name) {
                comma(out);
                push_string(&name, out);
                out.push(':');
                out.push_str(value);
            }
        }
    }

    /// The fields the table does not know, as one compact JSON object.
    #[must_use]
    pub fn extra(&self) -> Option<&str> {
        let index = self.table.spec().index_where(|k| matches!(k, Kind::Extra))?;
        match self.cell(index) {
            Cell::Json(text) => Some(text),
            _ => None,
        }
    }
}

fn cell_at<'a>(table: Table, present: u32, slots: &[u64], text: &'a str, index: usize) -> Cell<'a> {
    if index >= 32 || present & (1 << index) == 0 {
        return Cell::Null;
    }
    let (Some(&slot), Some(column)) = (slots.get(index), table.spec().columns.get(index)) else {
        return Cell::Null;
    };
    let slice = || {
        let start = (slot >> 32) as usize;
        let len = (slot & 0xffff_ffff) as usize;
        text.get(start..start + len).unwrap_or_default()
    };
    match column.kind {
        Kind::Int64 => Cell::Int(slot.cast_signed()),
        Kind::Double => Cell::Double(f64::from_bits(slot)),
        Kind::Timestamp => Cell::Time(Micros::new(slot.cast_signed())),
        Kind::Text | Kind::Enum(_) => Cell::Text(slice()),
        Kind::TextList { .. } | Kind::Json(_) | Kind::Extra => Cell::Json(slice()),
        Kind::Id
        | Kind::UserId
        | Kind::CreatedAt
        | Kind::UpdatedAt
        | Kind::Version
        | Kind::Sealed => Cell::Null,
    }
}

fn push_time(at: Micros, out: &mut String) {
    use std::fmt::Write;
    // Writing to a String cannot fail.
    let _ = write!(out, "\"{at}\"");
}

fn push_cell(cell: Cell<'_>, out: &mut String) {
    match cell {
        Cell::Int(n) => out.push_str(itoa::Buffer::new().format(n)),
        Cell::Double(d) if d.is_finite() => out.push_str(ryu::Buffer::new().format_finite(d)),
        Cell::Null | Cell::Double(_) => out.push_str("null"),
        Cell::Time(at) => push_time(at, out),
        Cell::Text(text) => push_string(text, out),
        Cell::Json(text) => out.push_str(text),
    }
}

/// A row being put together.
#[derive(Clone, Debug)]
pub struct RowBuilder {
    table: Table,
    present: u32,
    slots: Vec<u64>,
    text: String,
    /// Whether a part of the text is no column's any more.
    has_waste: bool,
    sealed: Option<Box<[u8]>>,
}

impl RowBuilder {
    /// Sets a column. Setting it again leaves the older value's text behind until
    /// [`RowBuilder::finish`] packs the row.
    pub fn set(&mut self, index: usize, cell: Cell<'_>) {
        self.has_waste |= self.has_text(index);
        let Some(slot) = self.slots.get_mut(index).filter(|_| index < 32) else { return };
        self.present |= 1 << index;
        match cell {
            Cell::Null => self.present &= !(1 << index),
            Cell::Int(n) => *slot = n.cast_unsigned(),
            Cell::Double(d) => *slot = d.to_bits(),
            Cell::Time(at) => *slot = at.get().cast_unsigned(),
            Cell::Text(text) | Cell::Json(text) => {
                *slot = ((self.text.len() as u64) << 32) | text.len() as u64;
                self.text.push_str(text);
            }
        }
    }

    /// Sets a text, JSON, list or extra column to what `write` appends.
    ///
    /// # Errors
    /// Those of `write`; the column is then as it was.
    pub fn set_written<E>(
        &mut self,
        index: usize,
        write: impl FnOnce(&mut String) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.text.len();
        if let Err(error) = write(&mut self.text) {
            self.text.truncate(start);
            return Err(error);
        }
        let written = (self.text.len() - start) as u64;
        self.has_waste |= self.has_text(index);
        if let Some(slot) = self.slots.get_mut(index).filter(|_| index < 32) {
            *slot = ((start as u64) << 32) | written;
            self.present |= 1 << index;
        } else {
            self.has_waste |= written > 0;
        }
        Ok(())
    }

    /// Sets a column by name; does nothing where the table has none of that name.
    pub fn set_named(&mut self, name: &str, cell: Cell<'_>) {
        if let Some((index, _)) = self.table.spec().column(name) {
            self.set(index, cell);
        }
    }

    /// Sets or removes the sealed credentials.
    pub fn set_sealed(&mut self, sealed: Option<Box<[u8]>>) {
        self.sealed = sealed;
    }

    /// The value of the column at `index`, as [`Row::cell`] gives it.
    #[must_use]
    pub fn cell(&self, index: usize) -> Cell<'_> {
        cell_at(self.table, self.present, &self.slots, &self.text, index)
    }

    /// Whether a column has a text that is not empty.
    fn has_text(&self, index: usize) -> bool {
        self.has(index)
            && matches!(self.cell(index), Cell::Text(text) | Cell::Json(text) if !text.is_empty())
    }

    /// Whether a column has a value.
    #[must_use]
    pub fn has(&self, index: usize) -> bool {
        index < 32 && self.present & (1 << index) != 0
    }

    /// The finished row.
    #[must_use]
    pub fn finish(self, id: RecordId, created_at: Micros, updated_at: Micros, version: i64) -> Row {
        let b = if self.has_waste {
            let packed = packed(self.table, self.text.len(), |index| self.cell(index));
            Self { sealed: self.sealed, ..packed }
        } else {
            self
        };
        Row {
            id,
            created_at,
            updated_at,
            version,
            table: b.table,
            present: b.present,
            slots: b.slots.into_boxed_slice(),
            text: boxed(b.text),
            sealed: b.sealed,
        }
    }
}

/// A builder with the values that `cell` gives, and nothing between them; their texts take at most
/// about `bytes`.
fn packed<'a>(table: Table, bytes: usize, cell: impl Fn(usize) -> Cell<'a>) -> RowBuilder {
    let mut builder = Row::build_for(table, bytes);
    for index in 0..builder.slots.len() {
        builder.set(index, cell(index));
    }
    builder
}

/// A text in no more bytes than it has. Allocators shrink in place what is at least half full, and
/// keep the rest: a row lives long, and as many bytes as a body has are more than its texts take.
fn boxed(text: String) -> Box<str> {
    if text.capacity() - text.len() > text.len() / 16 { text.as_str().into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Row {
        let mut b = Row::build(Table::Audiences);
        b.set_named("name", Cell::Text("old"));
        b.set_named("name", Cell::Text("Gen Z \"gamers\""));
        b.set_named("total_audience_size", Cell::Int(-3));
        b.set_named("selected_variables", Cell::Json("[\"A\"]"));
        b.set_named("extra", Cell::Json("{\"insights\":[1],\"x\":null}"));
        b.finish(RecordId::checked("a1").expect("id"), Micros::new(0), Micros::new(1), 2)
    }

    #[test]
    fn renders_known_columns_then_extra() {
        let user = UserId::checked("u").expect("user");
        let mut out = String::new();
        sample().render(&user, None, &|_, _| {}, &mut out);
        let value: serde_json::Value = serde_json::from_str(&out).expect(&out);
        assert_eq!(value["name"], "Gen Z \"gamers\"");
        assert_eq!(value["total_audience_size"], -3);
        assert_eq!(value["description"], serde_json::Value::Null);
        assert_eq!(value["insights"][0], 1);
        assert_eq!(value["version"], 2);
        assert_eq!(value["updated_at"], "1970-01-01T00:00:00.000001Z");
        assert!(value.get("extra").is_none());
    }

    #[test]
    fn renders_only_the_fields_asked_for() {
        let user = UserId::checked("u").expect("user");
        let mut out = String::new();
        sample().render(&user, Some(&|f| f == "x" || f == "audience_id"), &|_, _| {}, &mut out);
        assert_eq!(out, r#"{"audience_id":"a1","x":null}"#);
    }

    #[test]
    fn packs_what_was_set_twice() {
        assert!(!sample().text.contains("old"));
        let edited = sample().edit().finish(sample().id, Micros::new(0), Micros::new(1), 2);
        assert_eq!(edited, sample());
    }
}
