//! What a report says, before it is text or HTML.

/// A report.
#[derive(Clone, Default, Debug)]
pub struct Document {
    /// What it is about.
    pub title: String,
    /// Of which days, and when it was made.
    pub subtitle: String,
    /// What a reader must know first: gaps, damage, an empty history.
    pub notes: Vec<String>,
    /// Its parts.
    pub sections: Vec<Section>,
}

/// A part of a report.
#[derive(Clone, Default, Debug)]
pub struct Section {
    /// What it is about.
    pub title: String,
    /// Sentences, a line each.
    pub lines: Vec<String>,
    /// Numbers.
    pub tables: Vec<Table>,
    /// Drawings, for HTML.
    pub plots: Vec<Plot>,
    /// Whether it is for the console alone: it names users.
    pub console_only: bool,
}

impl Section {
    /// An empty part.
    #[must_use]
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), ..Self::default() }
    }
}

/// A table. Its first columns of texts stand left, the others right.
#[derive(Clone, Default, Debug)]
pub struct Table {
    /// What is above it; may be empty.
    pub caption: String,
    /// Names of columns.
    pub columns: Vec<&'static str>,
    /// How many of them are texts.
    pub texts: usize,
    /// Cells, as many as columns.
    pub rows: Vec<Vec<String>>,
    /// A number for each row, drawn as a bar beside it; may be empty.
    pub bars: Vec<f64>,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new(caption: &str, texts: usize, columns: &[&'static str]) -> Self {
        let (caption, columns) = (caption.to_owned(), columns.to_vec());
        Self { caption, columns, texts, ..Self::default() }
    }

    /// Adds a row with a bar.
    pub fn row(&mut self, cells: Vec<String>, bar: f64) {
        self.rows.push(cells);
        self.bars.push(bar);
    }
}

/// What numbers are, for axes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// How many.
    Count,
    /// Bytes.
    Bytes,
    /// Nanoseconds.
    Time,
    /// Shares of one.
    Share,
}

/// A drawing of numbers over days or weeks.
#[derive(Clone, Debug)]
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// What its numbers are.
    pub unit: Unit,
    /// Days or weeks.
    pub x: Vec<String>,
    /// Names and numbers, as many as `x`; `None` where nothing is known.
    pub series: Vec<(String, Vec<Option<f64>>)>,
}
