//! A report as text, for a console.

use super::document::{Document, Table};

/// Characters of a whole bar.
const BAR: f64 = 24.0;

/// The report as text.
#[must_use]
pub fn text(document: &Document) -> String {
    let mut out = format!("{}\n{}\n", document.title, document.subtitle);
    for note in &document.notes {
        out.push_str("\n! ");
        out.push_str(note);
    }
    if !document.notes.is_empty() {
        out.push('\n');
    }
    for section in &document.sections {
        out.push_str("\n## ");
        out.push_str(&section.title);
        out.push('\n');
        for line in &section.lines {
            out.push_str(line);
            out.push('\n');
        }
        for table in &section.tables {
            self::table(table, &mut out);
        }
    }
    out
}

fn table(table: &Table, out: &mut String) {
    if !table.caption.is_empty() {
        out.push('\n');
        out.push_str(&table.caption);
        out.push('\n');
    }
    let length = |text: &str| text.chars().count();
    let cell = |row: &[String], at: usize| row.get(at).map_or(0, |text| length(text));
    let widths: Vec<usize> = (0..table.columns.len())
        .map(|at| {
            let name = table.columns.get(at).map_or(0, |name| length(name));
            table.rows.iter().map(|row| cell(row, at)).max().unwrap_or(0).max(name)
        })
        .collect();
    let mut line = |cells: &mut dyn Iterator<Item = &str>, bar: String| {
        let mut text = String::new();
        for (at, (cell, width)) in cells.zip(&widths).enumerate() {
            let space = " ".repeat(width.saturating_sub(length(cell)));
            let (before, after) = if at < table.texts { ("", &*space) } else { (&*space, "") };
            let gap = if at == 0 { "" } else { "  " };
            text.extend([gap, before, cell, after]);
        }
        text.extend(["  ", &bar]);
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(&mut table.columns.iter().copied(), String::new());
    let most = table.bars.iter().copied().filter(|b| b.is_finite()).fold(0.0, f64::max);
    for (at, row) in table.rows.iter().enumerate() {
        let bar = table.bars.get(at).map_or_else(String::new, |value| bar(*value, most));
        line(&mut row.iter().map(String::as_str), bar);
    }
}

/// A bar in eighths of a character; something is shown of everything above nothing.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 192")]
fn bar(value: f64, most: f64) -> String {
    if most <= 0.0 || value <= 0.0 || value.is_nan() {
        return String::new();
    }
    let eighths = ((value / most).min(1.0) * BAR * 8.0).round().max(1.0) as usize;
    let part = match eighths % 8 {
        0 => "",
        1 => "▏",
        2 => "▎",
        3 => "▍",
        4 => "▌",
        5 => "▋",
        6 => "▊",
        _ => "▉",
    };
    format!("{}{part}", "█".repeat(eighths / 8))
}

#[cfg(test)]
mod tests {
    use super::super::document::Section;
    use super::*;

    #[test]
    fn columns_stand_in_line_and_bars_are_in_proportion() {
        let mut table = Table::new("", 1, &["code", "count"]);
        table.row(vec!["NOT_FOUND".to_owned(), "1,000".to_owned()], 1000.0);
        table.row(vec!["é".to_owned(), "5".to_owned()], 5.0);
        table.row(vec!["none".to_owned(), "0".to_owned()], 0.0);
        let section = Section { tables: vec![table], ..Section::new("Errors") };
        let document = Document {
            title: "T".to_owned(),
            subtitle: "S".to_owned(),
            notes: vec!["careful".to_owned()],
            sections: vec![section],
        };
        let bar = "█".repeat(24);
        let wanted = format!(
            "T\nS\n\n! careful\n\n## Errors\ncode       count\nNOT_FOUND  1,000  {bar}\n\
             é              5  ▏\nnone           0\n"
        );
        assert_eq!(text(&document), wanted);
    }
}
