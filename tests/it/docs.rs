//! The documentation says what the program says: parts of it are made from the code, and links
//! lead somewhere.
//!
//! `UPDATE_DOCS=1 cargo test --test it docs` writes the parts anew (`UPDATE_README=1` does, too).

use std::fmt::Write;
use std::path::{Path, PathBuf};

use audience_store::cli::settings_markdown;
use audience_store::domain::{Kind, Partitioning, Table};
use audience_store::http::error::CODES;
use audience_store::metrics::names;
use audience_store::parquet::arrow_schema;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[allow(clippy::disallowed_methods, reason = "reads the repository, not a store")]
fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// Compares the part of a file between `<!-- name:begin -->` and `<!-- name:end -->`, or writes it
/// where the environment asks for that.
#[allow(clippy::disallowed_methods, reason = "writes the repository, not a store")]
fn part_is(file: &str, name: &str, wanted: &str) {
    let path = root().join(file);
    let text = read(&path);
    let (begin, end) = (format!("<!-- {name}:begin -->\n"), format!("<!-- {name}:end -->"));
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{file} lacks {begin}"));
    let (found, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{file} lacks {end}"));
    if found.trim() == wanted.trim() {
        return;
    }
    let update = ["UPDATE_DOCS", "UPDATE_README"].iter().any(|v| std::env::var_os(v).is_some());
    assert!(update, "{file}, part {name}, is out of date: UPDATE_DOCS=1 cargo test --test it docs");
    let text = format!("{before}{begin}{}\n{end}{after}", wanted.trim());
    std::fs::write(&path, text).expect(file);
}

/// One test for all parts of the README, so that two do not write it at once.
#[test]
fn readme_has_the_programs_settings_table_and_error_codes() {
    part_is("README.md", "settings", &settings_markdown());
    let mut codes = String::from("| code | status | meaning |\n| --- | --- | --- |\n");
    for (code, status, meaning) in CODES {
        writeln!(codes, "| `{code}` | {status} | {meaning} |").expect("text");
    }
    part_is("README.md", "codes", &codes);
}

#[test]
fn parquet_format_lists_the_columns_that_are_written() {
    let mut out = String::new();
    for table in Table::ALL {
        let spec = table.spec();
        let partition = match spec.partitioning {
            Partitioning::Monthly => "user and month of `created_at`",
            Partitioning::PerUser => "user",
        };
        writeln!(out, "### `{}`, one file per {partition}\n", spec.name).expect("text");
        out.push_str("| # | column | Arrow type | nulls | on create | holds |\n");
        out.push_str("| --- | --- | --- | --- | --- | --- |\n");
        let schema = arrow_schema(table);
        for (index, (column, field)) in spec.columns.iter().zip(schema.fields()).enumerate() {
            let nulls = if field.is_nullable() { "yes" } else { "no" };
            let required = if column.required { "required" } else { "" };
            let (name, holds) = (column.name, holds(column.kind));
            writeln!(
                out,
                "| {index} | `{name}` | {} | {nulls} | {required} | {holds} |",
                field.data_type()
            )
            .expect("text");
        }
        out.push('\n');
    }
    part_is("docs/formats/parquet.md", "columns", &out);
}

#[test]
fn every_metric_is_listed() {
    let mut out = String::from("| metric | kind | labels | meaning |\n| --- | --- | --- | --- |\n");
    for name in names::ALL {
        let labels: Vec<_> = name.labels.iter().map(|label| format!("`{label}`")).collect();
        let kind = format!("{:?}", name.kind).to_lowercase();
        let (labels, help) = (labels.join(", "), name.help);
        writeln!(out, "| `{}{}` | {kind} | {labels} | {help} |", names::PREFIX, name.name)
            .expect("text");
    }
    part_is("docs/metrics.md", "metrics", &out);
}

fn holds(kind: Kind) -> String {
    match kind {
        Kind::Id => "the record's id".to_owned(),
        Kind::UserId => "the owner".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::Enum(values) => format!("one of `{}`", values.join("`, `")),
        Kind::CreatedAt | Kind::UpdatedAt | Kind::Timestamp => "UTC instant".to_owned(),
        Kind::Int64 => "whole number, not negative".to_owned(),
        Kind::Double => "number".to_owned(),
        Kind::TextList { numbers: false } => "list of texts".to_owned(),
        Kind::TextList { numbers: true } => {
            "list of texts and numbers, see \"Lists\" below".to_owned()
        }
        Kind::Json(shape) => {
            format!("JSON text ({shape:?})").to_lowercase().replace("json", "JSON")
        }
        Kind::Sealed => "bytes, see \"Credentials\" below".to_owned(),
        Kind::Version => "1, and one more with each change".to_owned(),
        Kind::Extra => "JSON object of the fields that the table does not know".to_owned(),
    }
}

#[test]
fn every_relative_link_leads_to_a_file() {
    let mut broken = Vec::new();
    for file in markdown_files(root()) {
        let text = read(&file);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let elsewhere = link.is_empty() || link.contains("://") || link.contains(' ');
            let target = file.parent().expect("folder").join(link);
            if !elsewhere && !target.exists() {
                broken.push(format!("{}: {link}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_decision_says_what_it_costs_and_what_would_change_it() {
    let decisions: Vec<_> = markdown_files(&root().join("docs/decisions"))
        .into_iter()
        .filter(|file| !file.ends_with("README.md"))
        .collect();
    assert!(!decisions.is_empty());
    let index = read(&root().join("docs/decisions/README.md"));
    for file in decisions {
        let text = read(&file);
        for heading in ["# ", "## Choice", "## What it costs", "## What would change it"] {
            let there = text.lines().any(|line| line.starts_with(heading));
            assert!(there, "{} lacks {heading:?}", file.display());
        }
        let name = file.file_name().expect("name").to_string_lossy();
        assert!(index.contains(&*name), "docs/decisions/README.md does not name {name}");
    }
}

/// The Markdown files of the repository below a folder.
#[allow(clippy::disallowed_methods, reason = "reads the repository, not a store")]
fn markdown_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("folder").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let foreign = name.starts_with('.') || name == "target" || name == "node_modules";
        if path.is_dir() && !foreign && !path.ends_with("data/persistence") {
            files.extend(markdown_files(&path));
        } else if path.extension().is_some_and(|e| e == "md") {
            files.push(path);
        }
    }
    files.sort();
    files
}
