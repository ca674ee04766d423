//! One audience, as the client's audience builder would save it.

use serde::Serialize;

use super::catalog::{
    BRANDS, CITIES, INCOMES, INSIGHTS, PEOPLE, PRIZM, People, THEMES, Theme, Variable,
};
use super::generator::{Author, tenths};
use super::prng::Prng;
use crate::domain::{Micros, Month, RecordId, Table};

/// An audience; its fields in the order in which they are sent.
#[allow(clippy::struct_field_names, reason = "the names are what clients send")]
#[derive(Serialize)]
pub(super) struct Audience {
    user_id: String,
    pub(super) audience_id: String,
    pub(super) name: String,
    enhanced_name: String,
    description: String,
    natural_language_criteria: String,
    audience_size: u64,
    insights: [String; 2],
    data_type: &'static str,
    original_query: String,
    selected_variables: Vec<&'static str>,
    variable_details: Vec<VariableDetail>,
    pub(super) segments: Vec<Segment>,
    total_audience_size: u64,
    pub(super) status: &'static str,
    created_at: String,
    metadata: Metadata,
    #[serde(skip)]
    pub(super) at: Micros,
}

#[derive(Serialize)]
struct VariableDetail {
    code: &'static str,
    description: &'static str,
    relevance_score: f64,
    r#type: &'static str,
    category: &'static str,
}

/// A part of an audience.
#[allow(clippy::struct_field_names, reason = "the names are what clients send")]
#[derive(Serialize)]
pub(super) struct Segment {
    pub(super) segment_id: u64,
    name: &'static str,
    pub(super) size: u64,
    size_percentage: f64,
    characteristics: Characteristics,
    prizm_segments: Vec<&'static str>,
}

#[derive(Serialize)]
struct Characteristics {
    avg_income: &'static str,
    primary_age: &'static str,
}

#[derive(Serialize)]
struct Metadata {
    created_from: &'static str,
    session_id: String,
    tags: [String; 2],
}

impl Audience {
    /// The user's audience number `index`.
    pub(super) fn of(author: &Author<'_>, index: u64) -> Self {
        let mut prng = author.stream(Table::Audiences, index);
        let (theme, product, city, brand) = subject(author, index);
        let people = prng.pick(PEOPLE);
        let at = author.moment(&mut prng);
        let total = 6_000 + prng.below(1_000) * prng.below(900);
        let variables = variables(&mut prng, &theme, &people);
        let query = match prng.below(3) {
            0 => format!("{} {}", people.label, theme.label).to_lowercase(),
            1 => format!("{} in {city}", theme.interest),
            _ => format!("{} {city}", theme.label).to_lowercase(),
        };
        Self {
            user_id: author.user.to_owned(),
            audience_id: RecordId::made(Table::Audiences, at, prng.ten_bytes()).as_str().to_owned(),
            name: format!("{brand} {}: {product}, {city}{}", season(at), round(index)),
            enhanced_name: format!("{} {}", theme.label, people.label),
            description: format!(
                "Find {} in {city} interested in {}",
                people.phrase, theme.interest
            ),
            natural_language_criteria: format!(
                "{} who like {}",
                capitalised(people.phrase),
                theme.interest
            ),
            audience_size: total,
            insights: [
                format!("Focused audience of {}K+ targeted users", total / 1_000),
                prng.pick(INSIGHTS).to_owned(),
            ],
            data_type: prng.weighted(&[
                ("first_party", 70),
                ("third_party", 20),
                ("clean_room", 10),
            ]),
            original_query: query,
            selected_variables: variables.iter().map(|variable| variable.0).collect(),
            variable_details: details(&mut prng, &variables),
            segments: segments(&mut prng, &theme, &people, total),
            total_audience_size: total,
            status: prng.weighted(&[("active", 70), ("draft", 20), ("archived", 10)]),
            created_at: at.to_string(),
            metadata: Metadata {
                created_from: "nl_audience_builder",
                session_id: format!("s-{:08x}", prng.below(1 << 32)),
                tags: [slug(theme.label), slug(brand)],
            },
            at,
        }
    }
}

/// How many audiences of one user differ in brand, product or city.
const SUBJECTS: u64 = (4 * THEMES_COUNT) * 24 * BRANDS_A_USER;
const THEMES_COUNT: u64 = 14;
const BRANDS_A_USER: u64 = 4;
/// Has no divisor in common with [`SUBJECTS`], so that its multiples meet every subject once.
const STRIDE: u64 = 2_483;

/// Theme, product, city and brand of an audience: different for each index below [`SUBJECTS`].
fn subject(author: &Author<'_>, index: u64) -> (Theme, &'static str, &'static str, &'static str) {
    let offset = author.constant("subject").below(SUBJECTS);
    let mut rest = (offset + index % SUBJECTS * STRIDE) % SUBJECTS;
    let mut digit = |base: u64| {
        let digit = rest % base;
        rest /= base;
        usize::try_from(digit).unwrap_or_default()
    };
    let theme = THEMES.get(digit(THEMES_COUNT)).copied().unwrap_or_default();
    let city = CITIES.get(digit(24)).copied().unwrap_or_default();
    let product = theme.products.get(digit(4)).copied().unwrap_or_default();
    (theme, product, city, brand(author, digit(BRANDS_A_USER) as u64))
}

/// One of the brands that a user works for.
pub(super) fn brand(author: &Author<'_>, number: u64) -> &'static str {
    let first = author.constant("brand").below(BRANDS.len() as u64);
    let index = (first + number % BRANDS_A_USER * 3) % BRANDS.len() as u64;
    usize::try_from(index).ok().and_then(|i| BRANDS.get(i)).copied().unwrap_or_default()
}

/// What tells audiences apart whose subjects are the same.
fn round(index: u64) -> String {
    match index / SUBJECTS {
        0 => String::new(),
        again => format!(" ({})", again + 1),
    }
}

fn season(at: Micros) -> String {
    let Some(month) = Month::of(at) else { return String::new() };
    let season = match month.month() {
        12 | 1 | 2 => "Winter",
        3..=5 => "Spring",
        6..=8 => "Summer",
        _ => "Fall",
    };
    format!("{season} {}", month.year())
}

/// The people's variables and some of the theme's, the most relevant first.
fn variables(prng: &mut Prng, theme: &Theme, people: &People) -> Vec<Variable> {
    let mut chosen = people.variables.to_vec();
    let count = prng.weighted(&[(1, 15), (2, 45), (3, 40)]);
    chosen.extend(prng.some(&theme.variables, count));
    chosen
}

/// What is known of the variables that matter most: as in the client, not of all.
fn details(prng: &mut Prng, variables: &[Variable]) -> Vec<VariableDetail> {
    // The age, and what the theme brings: the second of the people's says less.
    let age = usize::from(prng.chance(60));
    let telling = variables.iter().take(age).chain(variables.iter().skip(2).take(1));
    let mut relevance = 99;
    let mut detail = |(code, description, kind, category): Variable| {
        relevance -= prng.between(1, 7);
        VariableDetail {
            code,
            description,
            relevance_score: hundredths(relevance),
            r#type: kind,
            category,
        }
    };
    telling.copied().map(&mut detail).collect()
}

/// One to three parts whose sizes add up to `total` and whose shares add up to 100 %.
fn segments(prng: &mut Prng, theme: &Theme, people: &People, total: u64) -> Vec<Segment> {
    let count = prng.weighted(&[(1, 30), (2, 55), (3, 15)]);
    let names = prng.some(&theme.segments, count);
    let weights: Vec<u64> = names.iter().map(|_| prng.between(20, 60)).collect();
    let sum: u64 = weights.iter().sum();
    let (mut size_left, mut share_left) = (total, 1_000);
    let last = names.len().saturating_sub(1);
    let parts = names.into_iter().zip(weights).enumerate();
    parts
        .map(|(index, (name, weight))| {
            let (size, share) = if index == last {
                (size_left, share_left)
            } else {
                (total * weight / sum, 1_000 * weight / sum)
            };
            size_left -= size;
            share_left -= share;
            let clusters = usize::from(prng.chance(30)) + 1;
            Segment {
                segment_id: index as u64,
                name,
                size,
                size_percentage: tenths(share),
                characteristics: Characteristics {
                    avg_income: prng.pick(INCOMES),
                    primary_age: prng.pick(&people.ages),
                },
                prizm_segments: prng.some(PRIZM, clusters),
            }
        })
        .collect()
}

#[allow(clippy::cast_precision_loss, reason = "at most 99")]
fn hundredths(number: u64) -> f64 {
    number as f64 / 100.0
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// `Maple & Main` → `maple-main`.
pub(super) fn slug(text: &str) -> String {
    let words: Vec<String> = text
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    words.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stride_meets_every_subject() {
        let divides =
            |a: u64, b: u64| (2..=a.min(b)).any(|d| a.is_multiple_of(d) && b.is_multiple_of(d));
        assert!(!divides(STRIDE, SUBJECTS));
        assert_eq!((THEMES.len() as u64, CITIES.len()), (THEMES_COUNT, 24));
        assert!(BRANDS.len() as u64 > 3 * (BRANDS_A_USER - 1), "brands of one user differ");
    }

    #[test]
    fn words() {
        assert_eq!(slug("Maple & Main"), "maple-main");
        assert_eq!(capitalised("men aged 3"), "Men aged 3");
        assert_eq!(season(Micros::parse("2026-01-31").expect("date")), "Winter 2026");
        assert_eq!((round(0), round(SUBJECTS)), (String::new(), " (2)".to_owned()));
    }
}
