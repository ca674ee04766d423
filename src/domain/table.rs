//! The tables and their columns: one description from which validation, Parquet schema, JSON
//! rendering and the `OpenAPI` document are all made.
//!
//! Columns are only ever added at the end, nullable, and never removed or retyped: their order is
//! the Parquet order and their index is the column's number in the log's row format.

use std::fmt;

/// A table. The first three are what clients see; [`Table::Idempotency`] is the server's own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Table {
    /// Who to reach.
    Audiences,
    /// Where to reach them.
    Platforms,
    /// Which audience went where.
    Distributions,
    /// Answers remembered for `Idempotency-Key`, 24 hours long.
    Idempotency,
}

/// How a table's rows are spread over partitions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Partitioning {
    /// One partition a user and month of `created_at` (UTC).
    Monthly,
    /// One partition a user.
    PerUser,
}

/// What a JSON column must hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JsonShape {
    /// A JSON array of objects.
    Array,
    /// A JSON object.
    Object,
    /// Any JSON value.
    Any,
}

/// The type of a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The record's id.
    Id,
    /// The owner; a key of the partition, not stored per row in memory.
    UserId,
    /// UTF-8 text.
    Text,
    /// Text out of a closed set.
    Enum(&'static [&'static str]),
    /// The record's `created_at`.
    CreatedAt,
    /// The record's `updated_at`.
    UpdatedAt,
    /// A further instant.
    Timestamp,
    /// A signed 64-bit integer, not negative.
    Int64,
    /// A double.
    Double,
    /// A list of texts; with `numbers`, numbers too, given back as they came.
    TextList {
        /// Whether elements may be JSON numbers.
        numbers: bool,
    },
    /// JSON text.
    Json(JsonShape),
    /// Sealed bytes, never plain text, never rendered.
    Sealed,
    /// The record's version.
    Version,
    /// Every top-level field the table does not know, as one JSON object.
    Extra,
}

/// One column.
#[derive(Debug)]
pub struct Column {
    /// Its name in Parquet and JSON.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Whether a create must bring it.
    pub required: bool,
}

/// What is particular to one table.
#[derive(Debug)]
pub struct TableSpec {
    /// Plural name: folder, file and path segment.
    pub name: &'static str,
    /// Singular name, as JSON envelopes use it.
    pub singular: &'static str,
    /// Singular name, as sentences use it.
    pub title: &'static str,
    /// What server-made ids begin with.
    pub id_prefix: &'static str,
    /// How rows are spread.
    pub partitioning: Partitioning,
    /// Columns in Parquet order.
    pub columns: &'static [Column],
    /// Where each column is, by [`place`] of its name: its index and one, or 0.
    places: [u8; PLACES],
    /// Text columns that `q` searches.
    pub searched: &'static [&'static str],
    /// Columns a list can be filtered by, exactly.
    pub filters: &'static [&'static str],
}

const fn col(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, required: false }
}

const fn req(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, required: true }
}

/// Places for the columns of a table, enough that most have one to themselves.
const PLACES: usize = 64;

/// The first place where a column of this name may be; the others follow.
const fn place(name: &[u8]) -> usize {
    let mix = match name {
        [first, .., last] => *first as usize + *last as usize * 7,
        _ => 0,
    };
    (mix + name.len() * 3) % PLACES
}

#[allow(clippy::indexing_slicing, reason = "looked at when the program is compiled")]
const fn places(columns: &[Column]) -> [u8; PLACES] {
    let mut places = [0; PLACES];
    let mut index = 0;
    while index < columns.len() {
        let mut at = place(columns[index].name.as_bytes());
        while places[at] != 0 {
            at = (at + 1) % PLACES;
        }
        index += 1;
        #[allow(clippy::cast_possible_truncation, reason = "a table has 32 columns at most")]
        let number = index as u8;
        places[at] = number;
    }
    places
}

const AUDIENCE_STATUSES: &[&str] = &["active", "draft", "archived"];
const PLATFORM_STATUSES: &[&str] = &["connected", "disconnected", "pending", "active", "inactive"];
const DISTRIBUTION_STATUSES: &[&str] =
    &["scheduled", "pending", "processing", "in_progress", "completed", "failed", "cancelled"];

const AUDIENCE_COLUMNS: &[Column] = &[
    col("audience_id", Kind::Id),
    req("user_id", Kind::UserId),
    req("name", Kind::Text),
    col("description", Kind::Text),
    col("created_at", Kind::CreatedAt),
    col("updated_at", Kind::UpdatedAt),
    col("status", Kind::Enum(AUDIENCE_STATUSES)),
    req("data_type", Kind::Enum(&["first_party", "third_party", "clean_room"])),
    col("original_query", Kind::Text),
    req("selected_variables", Kind::TextList { numbers: false }),
    col("variable_details", Kind::Json(JsonShape::Array)),
    col("segments", Kind::Json(JsonShape::Array)),
    col("total_audience_size", Kind::Int64),
    col("metadata", Kind::Json(JsonShape::Object)),
    col("version", Kind::Version),
    col("extra", Kind::Extra),
];

static AUDIENCES: TableSpec = TableSpec {
    name: "audiences",
    singular: "audience",
    title: "Audience",
    id_prefix: "aud_",
    partitioning: Partitioning::Monthly,
    columns: AUDIENCE_COLUMNS,
    places: places(AUDIENCE_COLUMNS),
    searched: &["name", "description", "original_query"],
    filters: &["status", "data_type"],
};

const PLATFORM_COLUMNS: &[Column] = &[
    col("platform_id", Kind::Id),
    req("user_id", Kind::UserId),
    req("platform_type", Kind::Text),
    req("name", Kind::Text),
    col("created_at", Kind::CreatedAt),
    col("updated_at", Kind::UpdatedAt),
    col("status", Kind::Enum(PLATFORM_STATUSES)),
    col("credentials", Kind::Sealed),
    col("settings", Kind::Json(JsonShape::Object)),
    col("last_sync", Kind::Timestamp),
    col("sync_status", Kind::Enum(&["success", "failed", "pending"])),
    col("version", Kind::Version),
    col("extra", Kind::Extra),
];

static PLATFORMS: TableSpec = TableSpec {
    name: "platforms",
    singular: "platform",
    title: "Platform",
    id_prefix: "plat_",
    partitioning: Partitioning::PerUser,
    columns: PLATFORM_COLUMNS,
    places: places(PLATFORM_COLUMNS),
    searched: &["name"],
    filters: &["status", "platform_type"],
};

const DISTRIBUTION_COLUMNS: &[Column] = &[
    col("distribution_id", Kind::Id),
    req("user_id", Kind::UserId),
    req("audience_id", Kind::Text),
    req("platform_id", Kind::Text),
    col("audience_name", Kind::Text),
    col("platform_name", Kind::Text),
    col("platform_type", Kind::Text),
    col("created_at", Kind::CreatedAt),
    col("updated_at", Kind::UpdatedAt),
    col("scheduled_at", Kind::Timestamp),
    col("executed_at", Kind::Timestamp),
    col("completed_at", Kind::Timestamp),
    col("status", Kind::Enum(DISTRIBUTION_STATUSES)),
    col("distribution_type", Kind::Enum(&["initial", "refresh", "incremental"])),
    col("segments_distributed", Kind::TextList { numbers: true }),
    col("total_records", Kind::Int64),
    col("matched_records", Kind::Int64),
    col("match_rate", Kind::Double),
    col("match_results", Kind::Json(JsonShape::Any)),
    col("error_details", Kind::Json(JsonShape::Any)),
    col("error_message", Kind::Text),
    col("metadata", Kind::Json(JsonShape::Object)),
    col("version", Kind::Version),
    col("extra", Kind::Extra),
];

static DISTRIBUTIONS: TableSpec = TableSpec {
    name: "distributions",
    singular: "distribution",
    title: "Distribution",
    id_prefix: "dist_",
    partitioning: Partitioning::Monthly,
    columns: DISTRIBUTION_COLUMNS,
    places: places(DISTRIBUTION_COLUMNS),
    searched: &["audience_name", "platform_name", "error_message"],
    filters: &["status", "platform_type", "audience_id", "platform_id"],
};

const IDEMPOTENCY_COLUMNS: &[Column] = &[
    col("key_hash", Kind::Id),
    req("user_id", Kind::UserId),
    col("created_at", Kind::CreatedAt),
    col("updated_at", Kind::UpdatedAt),
    col("fingerprint", Kind::Text),
    col("status", Kind::Int64),
    col("answer", Kind::Json(JsonShape::Any)),
    col("etag", Kind::Text),
    col("version", Kind::Version),
];

static IDEMPOTENCY: TableSpec = TableSpec {
    name: "idempotency",
    singular: "idempotency",
    title: "Idempotency",
    id_prefix: "",
    partitioning: Partitioning::PerUser,
    columns: IDEMPOTENCY_COLUMNS,
    places: places(IDEMPOTENCY_COLUMNS),
    searched: &[],
    filters: &[],
};

impl Table {
    /// The tables clients see.
    pub const PUBLIC: [Self; 3] = [Self::Audiences, Self::Platforms, Self::Distributions];
    /// Every table.
    pub const ALL: [Self; 4] =
        [Self::Audiences, Self::Platforms, Self::Distributions, Self::Idempotency];

    /// What is particular to the table.
    #[must_use]
    pub fn spec(self) -> &'static TableSpec {
        match self {
            Self::Audiences => &AUDIENCES,
            Self::Platforms => &PLATFORMS,
            Self::Distributions => &DISTRIBUTIONS,
            Self::Idempotency => &IDEMPOTENCY,
        }
    }

    /// The table's number in the log: 1 to 4.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Audiences => 1,
            Self::Platforms => 2,
            Self::Distributions => 3,
            Self::Idempotency => 4,
        }
    }

    /// The table of a number in the log.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.number() == number)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.spec().name)
    }
}

impl TableSpec {
    /// Index and description of a column.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<(usize, &'static Column)> {
        let mut at = place(name.as_bytes());
        loop {
            let index = usize::from(*self.places.get(at)?).checked_sub(1)?;
            let column = self.columns.get(index)?;
            if column.name == name {
                return Some((index, column));
            }
            at = (at + 1) % PLACES;
        }
    }

    /// Index of the first column that `wanted` picks.
    #[must_use]
    pub fn index_where(&self, wanted: impl Fn(&Kind) -> bool) -> Option<usize> {
        self.columns.iter().position(|c| wanted(&c.kind))
    }

    /// Name of the id column.
    #[must_use]
    pub fn id_column(&self) -> &'static str {
        self.columns.first().map_or("", |c| c.name)
    }

    /// Allowed values of a closed text column, the default first.
    #[must_use]
    pub fn allowed(&self, name: &str) -> Option<&'static [&'static str]> {
        match self.column(name)?.1.kind {
            Kind::Enum(values) => Some(values),
            _ => None,
        }
    }

    /// The status a record has when its maker names none.
    #[must_use]
    pub fn default_status(&self) -> Option<&'static str> {
        self.allowed("status")?.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_name_tables() {
        for table in Table::ALL {
            assert_eq!(Table::from_number(table.number()), Some(table));
            assert!(table.spec().columns.len() <= 32, "the row's presence bitmap has 32 bits");
            assert!(matches!(table.spec().columns[0].kind, Kind::Id));
        }
        assert_eq!(Table::from_number(0), None);
    }

    #[test]
    fn columns_are_found_by_their_names_alone() {
        for table in Table::ALL {
            let spec = table.spec();
            for (index, column) in spec.columns.iter().enumerate() {
                assert_eq!(spec.column(column.name).map(|(at, _)| at), Some(index), "{table}");
                for other in ["x", "_"].map(|end| format!("{}{end}", column.name)) {
                    assert!(spec.column(&other).is_none(), "{table}.{other}");
                }
            }
            for name in ["", "a", "e", "insights", "enhanced_name"] {
                assert!(spec.column(name).is_none(), "{table}.{name}");
            }
        }
    }

    #[test]
    fn filters_and_searches_name_columns() {
        for table in Table::ALL {
            let spec = table.spec();
            for name in spec.searched.iter().chain(spec.filters) {
                assert!(spec.column(name).is_some(), "{table}.{name}");
            }
        }
    }
}
