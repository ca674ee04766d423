//! Lines over days or weeks, drawn as SVG.

use std::fmt::Write;

use super::document::Plot;
use super::html::escape;
use super::show;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 28.0;
/// Lines of the grid above zero.
const STEPS: u32 = 4;
/// Colours that people who see few colours can tell apart (Okabe and Ito).
const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#777777"];

/// The colour of a series by its place.
#[must_use]
pub fn colour(place: usize) -> &'static str {
    COLOURS.get(place % COLOURS.len()).copied().unwrap_or("#777777")
}

/// The drawing. Points have their numbers as titles; where nothing is known a line is broken.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "places on a page")]
pub fn svg(plot: &Plot) -> String {
    let known = plot.series.iter().flat_map(|(_, values)| values.iter().flatten().copied());
    let most = round_up(known.filter(|v| v.is_finite()).fold(0.0, f64::max));
    let x = |at: usize| {
        let steps = plot.x.len().saturating_sub(1).max(1) as f64;
        LEFT + (WIDTH - LEFT - RIGHT) * if plot.x.len() == 1 { 0.5 } else { at as f64 / steps }
    };
    let y = |value: f64| {
        let share = if most > 0.0 { (value / most).clamp(0.0, 1.0) } else { 0.0 };
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share
    };
    let title = escape(&plot.title);
    let mut out =
        format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">");
    for step in 0..=STEPS {
        let value = most * f64::from(step) / f64::from(STEPS);
        let (at, label) = (y(value), escape(&show::in_unit(plot.unit, value)));
        // Writing to a string cannot fail, here and below.
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0,
        );
    }
    let last = plot.x.len().saturating_sub(1);
    let mut ends = vec![0, last / 2, last];
    ends.dedup();
    for (place, at) in ends.iter().enumerate() {
        let anchor = match place {
            _ if plot.x.len() == 1 => "middle",
            0 => "start",
            _ if *at == last => "end",
            _ => "middle",
        };
        let label = plot.x.get(*at).map(|label| escape(label)).unwrap_or_default();
        let (x, y) = (x(*at), HEIGHT - 8.0);
        let _ =
            write!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{label}</text>");
    }
    for (place, (name, values)) in plot.series.iter().enumerate() {
        let colour = colour(place);
        let (mut path, mut pen_down) = (String::new(), false);
        let mut points = String::new();
        for (at, value) in values.iter().enumerate() {
            let Some(value) = value else {
                pen_down = false;
                continue;
            };
            // Above all bounds is drawn at the top.
            let (px, py) = (x(at), y(value.min(most)));
            let _ = write!(path, "{}{px:.1} {py:.1}", if pen_down { 'L' } else { 'M' });
            pen_down = true;
            let day = plot.x.get(at).map_or("", String::as_str);
            let said = format!("{name}, {day}: {}", show::in_unit(plot.unit, *value));
            let _ = write!(
                points,
                "<circle cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"2.5\" fill=\"{colour}\"><title>{}</title></circle>",
                escape(&said)
            );
        }
        let _ = write!(out, "<path d=\"{path}\" stroke=\"{colour}\"/>{points}");
    }
    out.push_str("</svg>");
    out
}

/// The next of 1, 2, 5, 10, 20, …
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 0.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let times = [1.0, 2.0, 5.0].into_iter().find(|times| times * power >= value);
    times.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::super::document::Unit;
    use super::*;

    fn plot(values: Vec<Option<f64>>) -> Plot {
        let x = (0..values.len()).map(|n| format!("day {n}")).collect();
        let series = vec![("a <b>".to_owned(), values)];
        Plot { title: "x & y".to_owned(), unit: Unit::Count, x, series }
    }

    #[test]
    fn gaps_break_the_line_and_texts_are_escaped() {
        let values = vec![Some(1.0), Some(3.0), None, Some(4.0), Some(f64::INFINITY)];
        let drawn = svg(&plot(values));
        assert_eq!((drawn.matches('M').count(), drawn.matches("<circle").count()), (2, 4));
        assert!(drawn.contains("x &amp; y") && drawn.contains("a &lt;b&gt;, day 1: 3"), "{drawn}");
        assert!(!drawn.contains("NaN") && !drawn.contains("inf,"), "{drawn}");
    }

    #[test]
    fn nothing_and_one_day_can_be_drawn() {
        for values in [vec![], vec![None], vec![Some(0.0)], vec![Some(7.0)]] {
            let drawn = svg(&plot(values));
            assert!(drawn.ends_with("</svg>") && !drawn.contains("NaN"), "{drawn}");
        }
        assert!((round_up(0.0013) - 0.002).abs() < 1e-12);
        assert!((round_up(70.0) - 100.0).abs() < 1e-9);
    }
}
