//! A checked change to a record, and what applying it makes: the rules of create, update and
//! status, as pure functions.

use super::input::{
    InputError, InputErrorKind, check_length, parse_double, parse_int, parse_time,
    unknown_fields_too_large,
};
use super::limits::{InputLimits, Limit};
use super::object::{ObjectFields, merged};
use super::{Cell, Credentials, Kind, Micros, RecordId, Row, RowBuilder, Sealed, Secret, Table};

/// The fields a client sent, as values of their columns.
#[derive(Clone, Debug)]
pub struct Patch {
    /// The id the body brought.
    pub id: Option<RecordId>,
    /// The `user_id` the body brought, unchecked.
    pub user_id: Option<String>,
    /// The `created_at` the body brought.
    pub created_at: Option<Micros>,
    /// The `updated_at` the body brought.
    pub updated_at: Option<Micros>,
    /// The `version` the body brought.
    pub version: Option<i64>,
    /// What becomes of the credentials.
    pub credentials: Credentials,
    table: Table,
    limits: InputLimits,
    touched: u32,
    values: RowBuilder,
    /// Whether `metadata` is merged into the record's, not put in its place.
    merges_metadata: bool,
    /// Whether reaching `completed` sets `completed_at`.
    completes: bool,
}

impl Patch {
    pub(super) fn new(table: Table, bytes: usize, limits: InputLimits) -> Self {
        Self {
            id: None,
            user_id: None,
            created_at: None,
            updated_at: None,
            version: None,
            credentials: Credentials::Keep,
            table,
            limits,
            touched: 0,
            values: Row::build_for(table, bytes),
            merges_metadata: false,
            completes: false,
        }
    }

    pub(super) fn set(&mut self, index: usize, cell: Cell<'_>) {
        self.touched |= 1 << index;
        self.values.set(index, cell);
    }

    pub(super) fn set_written<E>(
        &mut self,
        index: usize,
        write: impl FnOnce(&mut String) -> Result<(), E>,
    ) -> Result<(), E> {
        self.values.set_written(index, write)?;
        self.touched |= 1 << index;
        Ok(())
    }

    pub(super) fn limits(&self) -> &InputLimits {
        &self.limits
    }

    fn touches(&self, index: usize) -> bool {
        self.touched & (1 << index) != 0
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> Table {
        self.table
    }

    /// Checks what a create needs: every required field, with a value, and no blank text.
    ///
    /// # Errors
    /// [`InputErrorKind::Missing`] with the first missing field.
    pub fn check_create(&self) -> Result<(), InputError> {
        for (index, column) in self.table.spec().columns.iter().enumerate() {
            if !column.required || column.kind == Kind::UserId {
                continue;
            }
            let blank = match self.values.cell(index) {
                Cell::Null => true,
                Cell::Text(text) => text.trim_start().is_empty(),
                _ => false,
            };
            if blank {
                return Err(InputError::missing(column.name));
            }
        }
        Ok(())
    }

    /// Checks what an insert needs: what a create does, and no credentials that are only the
    /// view of others.
    ///
    /// # Errors
    /// The first field that breaks this.
    pub fn check_insert(&self) -> Result<(), InputError> {
        self.check_create()?;
        match self.credentials {
            Credentials::View => Err(InputError::invalid(
                "credentials",
                "is what reads show in the place of credentials, and there are none yet",
            )),
            _ => Ok(()),
        }
    }

    /// The credentials that have to be sealed before anything is done with the patch.
    #[must_use]
    pub fn unsealed(&self) -> Option<&Secret> {
        match &self.credentials {
            Credentials::Plain(secret) => Some(secret),
            _ => None,
        }
    }

    /// Puts sealed credentials in the place of the plain ones.
    pub fn seal(&mut self, sealed: Sealed) {
        self.credentials = Credentials::Sealed(sealed);
    }

    /// Checks what an update needs: no required field is taken away, and the ids agree.
    ///
    /// # Errors
    /// The first field that breaks this.
    pub fn check_update(&self, id: &RecordId) -> Result<(), InputError> {
        let spec = self.table.spec();
        if self.id.as_ref().is_some_and(|sent| sent != id) {
            return Err(InputError::invalid(spec.id_column(), "is not the id in the path"));
        }
        for (index, column) in spec.columns.iter().enumerate() {
            let blank = match self.values.cell(index) {
                Cell::Null => true,
                Cell::Text(text) => text.trim_start().is_empty(),
                _ => false,
            };
            if column.required && self.touches(index) && blank {
                return Err(InputError::invalid(column.name, "must not be empty"));
            }
        }
        Ok(())
    }

    /// Turns a patch into one of `PUT …/status`: a status is required; for distributions
    /// `metadata` is merged, and `match_rate`, `matched_records`, `completed_at` and
    /// `error_message` inside `match_results`, `error_details` and `metadata` set the columns of
    /// that name, unless the body names the column itself.
    ///
    /// # Errors
    /// [`InputErrorKind::Missing`] without a status, [`InputErrorKind::Invalid`] where a lifted
    /// value has the wrong type.
    pub fn into_status(mut self) -> Result<Self, InputError> {
        let spec = self.table.spec();
        let status = spec.column("status").map(|(index, _)| self.values.cell(index));
        let Some(Cell::Text(status)) = status else {
            return Err(InputError::missing("status"));
        };
        if self.table != Table::Distributions {
            return Ok(self);
        }
        self.completes = status == "completed";
        self.merges_metadata = true;
        for holder in ["match_results", "error_details", "metadata"] {
            let Some((index, _)) = spec.column(holder) else { continue };
            let Cell::Json(text) = self.values.cell(index) else { continue };
            let text = text.to_owned();
            self.lift(holder, &text)?;
        }
        Ok(self)
    }

    fn lift(&mut self, holder: &str, object: &str) -> Result<(), InputError> {
        let Ok(fields) = serde_json::from_str::<ObjectFields<'_>>(object) else { return Ok(()) };
        for (name, value) in fields.0 {
            let Some((index, column)) = self.table.spec().column(&name) else { continue };
            let lifted = matches!(
                &*name,
                "match_rate" | "matched_records" | "completed_at" | "error_message"
            );
            if !lifted || self.touches(index) || value.get() == "null" {
                continue;
            }
            let at = |mut error: InputError| {
                error.pointer = format!("/{holder}/{name}");
                error
            };
            match column.kind {
                Kind::Double => {
                    self.set(index, Cell::Double(parse_double(&name, value.get()).map_err(at)?));
                }
                Kind::Int64 => {
                    self.set(index, Cell::Int(parse_int(&name, value.get()).map_err(at)?));
                }
                Kind::Timestamp => {
                    self.set(index, Cell::Time(parse_time(&name, value.get()).map_err(at)?));
                }
                _ => {
                    let text: String = serde_json::from_str(value.get())
                        .map_err(|_| at(InputError::invalid(&name, "must be a text")))?;
                    check_length(&name, &text, &self.limits).map_err(at)?;
                    self.set(index, Cell::Text(&text));
                }
            }
        }
        Ok(())
    }

    /// The record this patch creates. [`Patch::check_create`] has passed.
    #[must_use]
    pub fn created(self, id: RecordId, created_at: Micros, now: Micros) -> Row {
        let spec = self.table.spec();
        let mut values = self.values;
        if let (Some((index, _)), Some(default)) = (spec.column("status"), spec.default_status())
            && !values.has(index)
        {
            values.set(index, Cell::Text(default));
        }
        if let Credentials::Sealed(sealed) = self.credentials {
            values.set_sealed(Some(sealed.bytes));
        }
        values.finish(id, created_at, now, 1)
    }

    /// The record as this patch leaves it. [`Patch::check_update`] has passed.
    #[must_use]
    pub fn updated(&self, row: &Row, now: Micros) -> Row {
        let spec = self.table.spec();
        let mut next = row.edit();
        for (index, column) in spec.columns.iter().enumerate() {
            if !self.touches(index) {
                continue;
            }
            let merges = matches!(column.kind, Kind::Extra)
                || (self.merges_metadata && column.name == "metadata");
            match (self.values.cell(index), row.cell(index)) {
                (Cell::Json(new), Cell::Json(old)) if merges => {
                    let fields = super::object::fields_of(new);
                    let both = merged(Some(old), fields.iter().map(|(n, v)| (&**n, *v)));
                    next.set(index, Cell::Json(&both));
                }
                (Cell::Null, _) if column.name == "status" => {
                    next.set(index, spec.default_status().map_or(Cell::Null, Cell::Text));
                }
                (cell, _) => next.set(index, cell),
            }
        }
        match &self.credentials {
            Credentials::Sealed(sealed) => next.set_sealed(Some(sealed.bytes.clone())),
            Credentials::Remove => next.set_sealed(None),
            // What is still plain has no place in a row.
            Credentials::Keep | Credentials::View | Credentials::Plain(_) => {}
        }
        if let Some((index, _)) = spec.column("completed_at").filter(|_| self.completes)
            && !next.has(index)
        {
            next.set(index, Cell::Time(now));
        }
        next.finish(row.id.clone(), row.created_at, now.max(row.updated_at), row.version + 1)
    }

    /// Checks that what [`Patch::updated`] merged did not grow too large: many small updates must
    /// not make what one request may not send.
    ///
    /// # Errors
    /// [`InputErrorKind::Over`] where unknown fields or metadata grew past their limit.
    pub fn check_merged(&self, before: &Row, after: &Row) -> Result<(), InputError> {
        let most = self.limits.extra;
        for (index, column) in self.table.spec().columns.iter().enumerate() {
            let metadata = self.merges_metadata && column.name == "metadata";
            if !self.touches(index) || !(metadata || column.kind == Kind::Extra) {
                continue;
            }
            let size = |row: &Row| match row.cell(index) {
                Cell::Json(text) => text.len(),
                _ => 0,
            };
            if size(after) <= most.max(size(before)) {
                continue;
            }
            if metadata {
                let rule = format!("may take {most} bytes after merging");
                return Err(InputError::over(Limit::Extra, column.name, rule));
            }
            return Err(unknown_fields_too_large(most));
        }
        Ok(())
    }

    /// Fields the body brought that a new record does not take because the server keeps them.
    #[must_use]
    pub fn ignored_on_create(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        if self.updated_at.is_some() {
            names.push("updated_at");
        }
        if self.version.is_some_and(|version| version != 1) {
            names.push("version");
        }
        names
    }

    /// Fields the body brought that an update does not change because the server keeps them:
    /// named in the answer, so that nothing is dropped silently.
    #[must_use]
    pub fn ignored(&self, row: &Row) -> Vec<&'static str> {
        let mut names = Vec::new();
        if self.created_at.is_some_and(|at| at != row.created_at) {
            names.push("created_at");
        }
        if self.updated_at.is_some_and(|at| at != row.updated_at) {
            names.push("updated_at");
        }
        if self.version.is_some_and(|version| version != row.version) {
            names.push("version");
        }
        names
    }
}

impl InputErrorKind {
    /// The stable code of the kind.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "MALFORMED_JSON",
            Self::Missing => "MISSING_FIELD",
            Self::Invalid | Self::Over(_) => "INVALID_FIELD",
        }
    }
}

#[cfg(test)]
#[path = "patch_tests.rs"]
mod tests;
