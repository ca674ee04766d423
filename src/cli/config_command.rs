//! What `audience-store config` prints, and the README's table of settings.

use std::fmt::Write;

use serde_json::{Value, json};

use super::sources::{Entry, Resolved, Source};
use super::table::{ALL, Group};

/// The settings as an aligned table: setting, value, source. Ends with a line break.
#[must_use]
pub fn as_table(resolved: &Resolved) -> String {
    let mut rows = vec![["SETTING".to_owned(), "VALUE".to_owned(), "SOURCE".to_owned()]];
    rows.extend(
        resolved
            .entries()
            .map(|e| [e.setting.about().key.to_owned(), shown(e), e.source.to_string()]),
    );
    let width = |column: fn(&[String; 3]) -> &String| {
        rows.iter().map(|row| column(row).chars().count()).max().unwrap_or_default()
    };
    let (first, second) = (width(|row| &row[0]), width(|row| &row[1]));
    let mut out = String::new();
    for [setting, value, source] in &rows {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{setting:first$}  {value:second$}  {source}");
    }
    out
}

/// The settings as one JSON object: name → `{value, source, from}`. `source` is `default`, `file`,
/// `environment` or `flag`; `from` says which, and is null for a default.
#[must_use]
pub fn as_json(resolved: &Resolved) -> String {
    let settings: serde_json::Map<String, Value> = resolved
        .entries()
        .map(|entry| {
            let (source, from) = match &entry.source {
                Source::Default => ("default", Value::Null),
                Source::File { path, key } => ("file", json!(format!("{}:{key}", path.display()))),
                Source::Environment(name) => ("environment", json!(name)),
                Source::Flag(name) => ("flag", json!(format!("--{name}"))),
            };
            let value = json!({"value": shown(entry), "source": source, "from": from});
            (entry.setting.about().key.to_owned(), value)
        })
        .collect();
    let mut out = format!("{:#}", Value::Object(settings));
    out.push('\n');
    out
}

fn shown(entry: &Entry) -> String {
    entry.setting.check(&entry.text).unwrap_or_else(|_| entry.text.clone())
}

/// The README's tables of settings, one a group, in Markdown. Ends with a line break.
#[must_use]
pub fn settings_markdown() -> String {
    let mut out = String::new();
    let mut group: Option<Group> = None;
    for setting in ALL {
        let about = setting.about();
        if group != Some(about.group) {
            let gap = if group.is_some() { "\n" } else { "" };
            let _ = writeln!(
                out,
                "{gap}**{}**\n\n| setting | default | environment variable | what it does | accepts |\n\
                 | --- | --- | --- | --- | --- |",
                about.group.name()
            );
            group = Some(about.group);
        }
        let _ = writeln!(
            out,
            "| `{}` | `{}` | `{}` | {} | {} |",
            about.key,
            about.shown_default(),
            about.environment(),
            about.help,
            setting.accepts()
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::sources::ConfigFile;
    use super::super::table::Scope;
    use super::*;

    fn resolved() -> Resolved {
        let flags = BTreeMap::from([("checkpoint-bytes", "1048576".to_owned())]);
        let environment = |name: &str| (name == "AUDIENCE_STORE_DATA").then(|| "/srv/ü".to_owned());
        Resolved::resolve(Scope::Serve, &flags, &environment, ConfigFile::default())
    }

    #[test]
    fn the_table_is_aligned_and_names_sources() {
        let table = as_table(&resolved());
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), ALL.len() + 1);
        let column = |line: &str, text: &str| {
            line.split(text).next().map(|before| before.chars().count()).expect("a part")
        };
        let at = column(lines[0], "SOURCE");
        for (source, wanted) in [
            ("checkpoint-bytes  ", "flag --checkpoint-bytes"),
            ("data  ", "environment AUDIENCE_STORE_DATA"),
            ("listen  ", "default"),
        ] {
            let line = lines.iter().find(|line| line.starts_with(source)).expect(source);
            assert!(line.ends_with(wanted), "{line}");
            assert_eq!(column(line, wanted), at, "{line}");
        }
        assert!(table.contains(" 1MiB "), "values are shown in their shortest form");
    }

    #[test]
    fn the_json_says_the_same() {
        let json: Value = serde_json::from_str(&as_json(&resolved())).expect("JSON");
        assert_eq!(json.as_object().map(serde_json::Map::len), Some(ALL.len()));
        assert_eq!(
            json["checkpoint-bytes"],
            json!({"value": "1MiB", "source": "flag", "from": "--checkpoint-bytes"})
        );
        assert_eq!(json["listen"]["from"], Value::Null);
        assert_eq!(json["data"]["value"], "/srv/ü");
    }

    #[test]
    fn the_markdown_has_a_row_a_setting() {
        let markdown = settings_markdown();
        for setting in ALL {
            let about = setting.about();
            let row = format!(
                "| `{}` | `{}` | `{}` |",
                about.key,
                about.shown_default(),
                about.environment()
            );
            assert_eq!(markdown.matches(&row).count(), 1, "{row}");
        }
        for line in markdown.lines().filter(|line| line.starts_with('|')) {
            assert_eq!(line.matches('|').count(), 6, "{line}");
        }
        assert_eq!(markdown.matches("\n\n| setting |").count(), 7);
    }
}
