//! When a disk is full, should things go on as they did: a straight line through the days that are
//! known, and how well it fits.

/// The fewest days a line is drawn through.
pub const FEWEST: usize = 3;

/// A straight line through points, by least squares.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Trend {
    /// Growth a day.
    pub a_day: f64,
    /// The share of the points' variance that the line explains, 0 to 1 (R²).
    pub fit: f64,
    /// Points.
    pub points: usize,
    /// Days from the first point to the last.
    pub days: f64,
}

/// The line through points of days and values; `None` for too few.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "a few hundred points")]
pub fn trend(points: &[(f64, f64)]) -> Option<Trend> {
    let (first, last) = (points.first()?.0, points.last()?.0);
    if points.len() < FEWEST || last <= first {
        return None;
    }
    let n = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / n;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / n;
    let of =
        |f: fn(f64, f64) -> f64| points.iter().map(|(x, y)| f(x - mean_x, y - mean_y)).sum::<f64>();
    let (xx, xy, yy) = (of(|x, _| x * x), of(|x, y| x * y), of(|_, y| y * y));
    let a_day = xy / xx;
    let fit = if yy > 0.0 { (xy * xy / (xx * yy)).min(1.0) } else { 1.0 };
    Some(Trend { a_day, fit, points: points.len(), days: last - first })
}

impl Trend {
    /// Days until so many bytes are taken; `None` where nothing grows.
    #[must_use]
    pub fn days_until(&self, bytes: f64) -> Option<f64> {
        (self.a_day > 0.0).then(|| (bytes / self.a_day).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_straight_line_is_found_and_a_crooked_one_fits_less() {
        let line: Vec<_> =
            (0..10).map(|day| (f64::from(day), 100.0 + 7.0 * f64::from(day))).collect();
        let found = trend(&line).expect("a line");
        assert!((found.a_day - 7.0).abs() < 1e-9 && found.fit > 0.999_999);
        assert!((found.days_until(70.0).expect("grows") - 10.0).abs() < 1e-9);
        let crooked = [(0.0, 0.0), (1.0, 9.0), (2.0, 1.0), (3.0, 8.0)];
        let found = trend(&crooked).expect("a line");
        // numpy.polyfit(x, y, 1)[0] and numpy.corrcoef(x, y)[0, 1] ** 2.
        assert!(
            (found.a_day - 1.6).abs() < 1e-9 && (found.fit - 0.196_923).abs() < 1e-5,
            "{found:?}"
        );
    }

    #[test]
    fn too_little_is_no_line_and_what_shrinks_fills_no_disk() {
        assert_eq!(trend(&[(0.0, 1.0), (1.0, 2.0)]), None);
        assert_eq!(trend(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
        let down = trend(&[(0.0, 9.0), (1.0, 5.0), (2.0, 1.0)]).expect("a line");
        assert_eq!(down.days_until(100.0), None);
    }
}
