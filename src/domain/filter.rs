//! Which records a list wants: pure predicates over rows.

use super::{Cell, Kind, Micros, Row, Table};

/// A checked list filter of one table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    equals: Vec<(usize, String)>,
    text: Option<String>,
    created_after: Option<Micros>,
    created_before: Option<Micros>,
}

/// A filter value that the column can never hold.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("must be one of {}", .allowed.join(", "))]
pub struct FilterError {
    /// What the column can hold.
    pub allowed: &'static [&'static str],
}

impl Filter {
    /// Wants rows whose column `name` is exactly `value`. Columns the table cannot be filtered by
    /// are left alone.
    ///
    /// # Errors
    /// [`FilterError`] where the column is a closed set without `value`.
    pub fn equal(&mut self, table: Table, name: &str, value: &str) -> Result<(), FilterError> {
        let Some((index, column)) = table.spec().column(name) else { return Ok(()) };
        if let Kind::Enum(allowed) = column.kind
            && !allowed.contains(&value)
        {
            return Err(FilterError { allowed });
        }
        self.equals.push((index, value.to_owned()));
        Ok(())
    }

    /// Wants rows with `text` in one of the table's searched columns, whatever its case.
    pub fn containing(&mut self, text: &str) {
        if !text.is_empty() {
            self.text = Some(text.to_lowercase());
        }
    }

    /// Wants rows created strictly after an instant.
    pub fn after(&mut self, at: Micros) {
        self.created_after = Some(at);
    }

    /// Wants rows created strictly before an instant.
    pub fn before(&mut self, at: Micros) {
        self.created_before = Some(at);
    }

    /// Whether a row is wanted.
    #[must_use]
    pub fn matches(&self, row: &Row) -> bool {
        self.spans(row.created_at, row.created_at)
            && self
                .equals
                .iter()
                .all(|(index, value)| matches!(row.cell(*index), Cell::Text(t) if t == value))
            && self.text.as_ref().is_none_or(|wanted| contains(row, wanted))
    }

    /// Whether rows created between two instants, both included, can be wanted at all.
    #[must_use]
    pub fn spans(&self, first: Micros, last: Micros) -> bool {
        self.created_after.is_none_or(|after| last > after)
            && self.created_before.is_none_or(|before| first < before)
    }

    /// The strict bounds on `created_at`: after, before.
    #[must_use]
    pub fn bounds(&self) -> (Option<Micros>, Option<Micros>) {
        (self.created_after, self.created_before)
    }

    /// Columns the filter reads, by index.
    #[must_use]
    pub fn columns(&self, table: Table) -> Vec<usize> {
        let mut columns: Vec<usize> = self.equals.iter().map(|(index, _)| *index).collect();
        if self.text.is_some() {
            let spec = table.spec();
            columns
                .extend(spec.searched.iter().filter_map(|name| spec.column(name)).map(|(i, _)| i));
        }
        columns
    }

    /// A text that two filters share exactly when they want the same rows.
    #[must_use]
    pub fn canonical(&self) -> String {
        let mut equals = self.equals.clone();
        equals.sort();
        format!("{equals:?}|{:?}|{:?}|{:?}", self.text, self.created_after, self.created_before)
    }
}

fn contains(row: &Row, wanted: &str) -> bool {
    row.table()
        .spec()
        .searched
        .iter()
        .filter_map(|name| row.text(name))
        .any(|text| text.to_lowercase().contains(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::input::row_of;

    fn row() -> Row {
        row_of(
            Table::Audiences,
            r#"{"name":"Gamers","description":"Grüße","data_type":"first_party","created_at":"2025-05-01"}"#,
        )
    }

    fn filter(build: impl FnOnce(&mut Filter)) -> Filter {
        let mut filter = Filter::default();
        build(&mut filter);
        filter
    }

    #[test]
    fn each_condition_must_hold() {
        let at = row().created_at;
        for (expected, wanted) in [
            (true, Filter::default()),
            (true, filter(|f| f.equal(Table::Audiences, "status", "active").expect("status"))),
            (false, filter(|f| f.equal(Table::Audiences, "status", "draft").expect("status"))),
            (true, filter(|f| f.containing("gRÜSSE".replace("SS", "ß").as_str()))),
            (true, filter(|f| f.containing("game"))),
            (false, filter(|f| f.containing("first_party"))),
            (false, filter(|f| f.after(at))),
            (true, filter(|f| f.after(Micros::new(at.get() - 1)))),
            (false, filter(|f| f.before(at))),
        ] {
            assert_eq!(wanted.matches(&row()), expected, "{wanted:?}");
        }
    }

    #[test]
    fn a_value_outside_a_closed_set_is_refused() {
        let error =
            Filter::default().equal(Table::Audiences, "status", "gone").expect_err("status");
        assert_eq!(error.to_string(), "must be one of active, draft, archived");
    }

    #[test]
    fn canonical_forms_do_not_depend_on_order() {
        let a = filter(|f| {
            f.equal(Table::Audiences, "status", "draft").expect("a");
            f.equal(Table::Audiences, "data_type", "clean_room").expect("b");
        });
        let b = filter(|f| {
            f.equal(Table::Audiences, "data_type", "clean_room").expect("b");
            f.equal(Table::Audiences, "status", "draft").expect("a");
        });
        assert_eq!(a.canonical(), b.canonical());
        assert_ne!(a.canonical(), Filter::default().canonical());
    }
}
