//! A report as one HTML file: nothing is fetched, nothing runs.

use std::fmt::Write;

use super::document::{Document, Plot, Table};
use super::svg;

const HEAD: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n";

const STYLE: &str = "<style>
:root { color-scheme: light dark; --line: #8884; --quiet: #777; --bar: #0072b2; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.5rem; } .quiet { color: var(--quiet); }
.note { border-left: 3px solid #d55e00; padding-left: .7rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--quiet); }
th, td { padding: .15rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
.l { text-align: left; } .bar { width: 10rem; padding: 0; }
.bar i { display: block; height: .7rem; background: var(--bar); border-radius: 2px; }
figure { margin: 1.2rem 0; } figcaption { font-weight: 600; } figcaption span { font-weight: 400; margin-left: 1rem; }
svg { width: 100%; height: auto; } svg text { font-size: 11px; fill: var(--quiet); }
svg .grid { stroke: var(--line); } svg path { fill: none; stroke-width: 1.8; }
</style>\n";

/// A text in HTML, in elements and attributes.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// The report as a page. What is for the console alone is left out.
#[must_use]
pub fn html(document: &Document) -> String {
    let title = escape(&document.title);
    let mut out = format!("{HEAD}<title>{title}</title>\n{STYLE}</head><body>\n<h1>{title}</h1>\n");
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(out, "<p class=\"quiet\">{}</p>", escape(&document.subtitle));
    for note in &document.notes {
        let _ = writeln!(out, "<p class=\"note\">{}</p>", escape(note));
    }
    for section in document.sections.iter().filter(|section| !section.console_only) {
        let _ = writeln!(out, "<h2>{}</h2>", escape(&section.title));
        if !section.lines.is_empty() {
            let lines: Vec<_> = section.lines.iter().map(|line| escape(line)).collect();
            let _ = writeln!(out, "<p>{}</p>", lines.join("<br>\n"));
        }
        for plot in section.plots.iter().filter(|plot| plot.x.len() > 1) {
            self::plot(plot, &mut out);
        }
        for table in &section.tables {
            self::table(table, &mut out);
        }
    }
    out.push_str("</body></html>\n");
    out
}

fn plot(plot: &Plot, out: &mut String) {
    let _ = write!(out, "<figure><figcaption>{}", escape(&plot.title));
    for (place, (name, _)) in plot.series.iter().enumerate() {
        let colour = svg::colour(place);
        let _ = write!(out, "<span style=\"color:{colour}\">&#9632; {}</span>", escape(name));
    }
    let _ = writeln!(out, "</figcaption>{}</figure>", svg::svg(plot));
}

fn table(table: &Table, out: &mut String) {
    let class = |at: usize| if at < table.texts { " class=\"l\"" } else { "" };
    out.push_str("<div class=\"wide\"><table>");
    if !table.caption.is_empty() {
        let _ = write!(out, "<caption>{}</caption>", escape(&table.caption));
    }
    out.push_str("<tr>");
    for (at, name) in table.columns.iter().enumerate() {
        let _ = write!(out, "<th{}>{}</th>", class(at), escape(name));
    }
    let most = table.bars.iter().copied().filter(|b| b.is_finite()).fold(0.0, f64::max);
    if most > 0.0 {
        out.push_str("<th></th>");
    }
    out.push_str("</tr>\n");
    for (at, row) in table.rows.iter().enumerate() {
        out.push_str("<tr>");
        for (at, cell) in row.iter().enumerate() {
            let _ = write!(out, "<td{}>{}</td>", class(at), escape(cell));
        }
        if most > 0.0 {
            let share = table.bars.get(at).map_or(0.0, |bar| (bar / most).clamp(0.0, 1.0));
            let _ =
                write!(out, "<td class=\"bar\"><i style=\"width:{:.1}%\"></i></td>", share * 100.0);
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table></div>\n");
}

#[cfg(test)]
mod tests {
    use super::super::document::Section;
    use super::*;

    #[test]
    fn texts_are_escaped_and_users_are_left_out() {
        let mut table = Table::new("", 1, &["code", "count"]);
        table.row(vec!["<script>'\"&".to_owned(), "5".to_owned()], 5.0);
        let shown = Section { tables: vec![table], ..Section::new("Shown") };
        let users = Section { console_only: true, ..Section::new("Largest users") };
        let document = Document { sections: vec![shown, users], ..Document::default() };
        let page = html(&document);
        assert!(page.contains("&lt;script&gt;&#39;&quot;&amp;") && !page.contains("<script"));
        assert!(page.contains("Shown") && !page.contains("Largest"));
        assert!(page.contains("width:100.0%"));
        assert!(!page.contains("http:") && !page.contains("https:"), "nothing is fetched");
    }
}
