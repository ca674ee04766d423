use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use proptest::prelude::*;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::super::sample::sample_now;
use super::*;
use crate::domain::{Kind, Month, RecordId, UserId};

fn generator(audiences: u32, platforms: u32, distributions: u32) -> Generator {
    let options = Options { audiences, platforms, distributions, months: 12 };
    Generator::new(DEFAULT_SEED, options, sample_now())
}

/// A user's records of a table, parsed.
fn parsed(generator: &Generator, user: u64, table: Table) -> Vec<Value> {
    let records = generator.records(user).filter(|record| record.table == table);
    records.map(|record| serde_json::from_slice(&record.body).expect("JSON")).collect()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} in {value}"))
}

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_else(|| panic!("{field} in {value}"))
}

fn shares(records: &[Value], field: &str) -> BTreeMap<String, f64> {
    let mut shares = BTreeMap::new();
    for record in records {
        #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
        let one = 100.0 / records.len() as f64;
        *shares.entry(text(record, field).to_owned()).or_default() += one;
    }
    shares
}

/// Changes whenever any record changes: then seeded stores, the sample and measurements made with
/// them are no longer comparable with older ones, and the changelog must say so.
#[test]
fn the_same_seed_makes_the_same_bytes() {
    let generator = Generator::new(7, Options::default(), sample_now());
    let mut hash = Sha256::new();
    for record in (1..=5).flat_map(|user| generator.records(user)) {
        hash.update([record.table.number()]);
        hash.update(&record.body);
    }
    let mut hex = String::new();
    for byte in hash.finalize() {
        write!(hex, "{byte:02x}").expect("text");
    }
    assert_eq!(hex, "e1ace163733a5a5f9a8a43ce537b6837a6832ff0a3832b2076cc92076ea60385");
}

#[test]
fn seeds_users_and_moments_are_apart() {
    let first = |seed, user, now| {
        let generator = Generator::new(seed, Options::default(), Micros::new(now));
        generator.records(user).next().expect("a record").body
    };
    let now = sample_now().get();
    assert_eq!(first(1, 1, now), first(1, 1, now));
    assert_ne!(first(1, 1, now), first(2, 1, now));
    assert_ne!(first(1, 1, now), first(1, 2, now));
    assert_ne!(first(1, 1, now), first(1, 1, now - 3_600_000_000));
}

#[test]
fn counts_are_what_was_asked_for() {
    let generator = generator(9, 2, 4);
    let tables: Vec<_> = generator.records(1).map(|record| record.table).collect();
    let count = |table| tables.iter().filter(|t| **t == table).count();
    assert_eq!(count(Table::Audiences), 9);
    assert_eq!(count(Table::Platforms), 2);
    assert_eq!(count(Table::Distributions), 4);
    assert_eq!(generator.records_a_user(), 15);
    assert_eq!(self::generator(0, 2, 4).records_a_user(), 2);
    assert_eq!(self::generator(9, 0, 4).records_a_user(), 9);
}

#[test]
fn user_ids_are_unique_and_acceptable() {
    let generator = generator(1, 1, 1);
    let ids: BTreeSet<_> = (0..2_000).map(|number| generator.user_id(number)).collect();
    assert_eq!(ids.len(), 2_000);
    assert!(ids.contains("user_000042"));
    assert!(ids.iter().all(|id| UserId::checked(id).is_ok()));
    assert_eq!(ids.iter().filter(|id| id.ends_with(".example")).count(), 400);
}

/// Names are unique past the number of subjects, too.
#[test]
fn names_and_ids_are_unique_for_a_user() {
    let generator = generator(6_000, 100, 300);
    for (table, name) in [(Table::Audiences, "name"), (Table::Platforms, "name")] {
        let records = parsed(&generator, 1, table);
        let names: BTreeSet<_> = records.iter().map(|record| text(record, name)).collect();
        assert_eq!(names.len(), records.len(), "{table}");
    }
    for table in Table::PUBLIC {
        let records = parsed(&generator, 1, table);
        let column = table.spec().id_column();
        let ids: BTreeSet<_> = records.iter().map(|record| text(record, column)).collect();
        assert_eq!(ids.len(), records.len(), "{table}");
    }
}

/// Every field is a column of the right type, or one of the extra fields that the client sends.
#[test]
fn bodies_are_what_the_tables_take() {
    let extra = ["enhanced_name", "natural_language_criteria", "audience_size", "insights"];
    let generator = generator(40, 6, 60);
    for table in Table::PUBLIC {
        for record in parsed(&generator, 3, table) {
            let fields = record.as_object().expect("an object");
            for (name, value) in fields {
                let Some((_, column)) = table.spec().column(name) else {
                    assert!(table == Table::Audiences && extra.contains(&name.as_str()), "{name}");
                    continue;
                };
                match column.kind {
                    Kind::Enum(allowed) => assert!(allowed.contains(&text(&record, name))),
                    Kind::Id => {
                        let id = RecordId::checked(text(&record, name)).expect("an id");
                        let at = Micros::parse(text(&record, "created_at")).expect("an instant");
                        assert_eq!(id.month(table), Month::of(at), "{id}");
                    }
                    Kind::CreatedAt | Kind::Timestamp => {
                        assert!(Micros::parse(text(&record, name)).is_ok(), "{name}");
                    }
                    Kind::Int64 => assert!(value.is_u64(), "{name}"),
                    Kind::Double => assert!(value.is_f64(), "{name}"),
                    Kind::TextList { .. } => assert!(value.is_array(), "{name}"),
                    Kind::Json(_) => assert!(value.is_array() || value.is_object(), "{name}"),
                    Kind::Sealed => panic!("credentials"),
                    _ => assert!(!text(&record, name).is_empty(), "{name}"),
                }
            }
            for column in table.spec().columns.iter().filter(|column| column.required) {
                assert!(fields.contains_key(column.name), "{table} lacks {}", column.name);
            }
            assert_eq!(text(&record, "user_id"), generator.user_id(3));
        }
    }
}

#[test]
fn audiences_have_the_size_and_shape_of_real_ones() {
    let generator = generator(2_000, 1, 0);
    let records = || generator.records(2).filter(|record| record.table == Table::Audiences);
    let mean = records().map(|record| record.body.len()).sum::<usize>() / 2_000;
    assert!((1_200..=1_400).contains(&mean), "{mean} bytes");

    let audiences = parsed(&generator, 2, Table::Audiences);
    for audience in &audiences {
        let segments = audience["segments"].as_array().expect("segments");
        let sizes: u64 = segments.iter().map(|segment| number(segment, "size")).sum();
        assert_eq!(sizes, number(audience, "total_audience_size"));
        assert_eq!(sizes, number(audience, "audience_size"));
        let share: f64 = segments.iter().filter_map(|s| s["size_percentage"].as_f64()).sum();
        assert!((share - 100.0).abs() < 1e-9, "{share} %");
        let details = audience["variable_details"].as_array().expect("details");
        let selected = audience["selected_variables"].as_array().expect("variables");
        assert!((3..=5).contains(&selected.len()) && (1..=2).contains(&details.len()));
        for detail in details {
            assert!(selected.contains(&detail["code"]), "{detail}");
            let relevance = detail["relevance_score"].as_f64().expect("a score");
            assert!((0.7..1.0).contains(&relevance), "{relevance}");
        }
    }
    let shares = shares(&audiences, "status");
    for (status, wanted) in [("active", 70.0), ("draft", 20.0), ("archived", 10.0)] {
        assert!((shares[status] - wanted).abs() < 3.0, "{shares:?}");
    }
}

#[test]
fn creation_grows_towards_now() {
    let generator = generator(4_000, 1, 0);
    let (start, now) = (generator.start(), sample_now().get());
    let mut quarters = [0_u32; 4];
    for audience in parsed(&generator, 1, Table::Audiences) {
        let at = Micros::parse(text(&audience, "created_at")).expect("an instant").get();
        assert!((start..=now).contains(&at));
        let quarter = usize::try_from((at - start) * 4 / (now - start + 1)).expect("small");
        quarters[quarter] += 1;
    }
    assert!(quarters.is_sorted() && quarters[3] > 4 * quarters[0], "{quarters:?}");
}

#[test]
fn platforms_are_of_every_type() {
    let platforms = parsed(&generator(0, 8, 0), 5, Table::Platforms);
    let shares = shares(&platforms, "platform_type");
    let types: Vec<_> = shares.keys().map(String::as_str).collect();
    assert_eq!(types, ["amazon_dsp", "google_ads", "meta", "the_trade_desk"]);
    assert!(shares.values().all(|share| (share - 25.0).abs() < 1e-9));
}

#[test]
fn distributions_refer_to_records_of_their_user() {
    let generator = generator(60, 4, 1_500);
    let by_id = |table: Table| -> BTreeMap<String, Value> {
        let records = parsed(&generator, 1, table).into_iter();
        records.map(|r| (text(&r, table.spec().id_column()).to_owned(), r)).collect()
    };
    let (audiences, platforms) = (by_id(Table::Audiences), by_id(Table::Platforms));
    let distributions = parsed(&generator, 1, Table::Distributions);
    let mut rates: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for distribution in &distributions {
        let audience = &audiences[text(distribution, "audience_id")];
        let platform = &platforms[text(distribution, "platform_id")];
        assert_eq!(distribution["audience_name"], audience["name"]);
        assert_eq!(distribution["platform_name"], platform["name"]);
        assert_eq!(distribution["platform_type"], platform["platform_type"]);
        let at = text(distribution, "created_at");
        assert!(at >= text(audience, "created_at") && at >= text(platform, "created_at"));
        assert!(at <= sample_now().to_string().as_str());

        let sent = distribution["segments_distributed"].as_array().expect("segments");
        assert!(!sent.is_empty());
        let sizes: u64 = sent
            .iter()
            .map(|id| {
                number(
                    &audience["segments"]
                        [usize::try_from(id.as_u64().expect("a number")).expect("small")],
                    "size",
                )
            })
            .sum();
        assert_eq!(sizes, number(distribution, "total_records"));
        stages(distribution);
        if let Some(rate) = distribution["match_rate"].as_f64() {
            rates.entry(text(platform, "platform_type").to_owned()).or_default().push(rate);
        }
    }
    let mean = |rates: &Vec<f64>| {
        rates.iter().sum::<f64>() / f64::from(u32::try_from(rates.len()).expect("few"))
    };
    assert!(mean(&rates["meta"]) > mean(&rates["the_trade_desk"]));
    assert!(mean(&rates["the_trade_desk"]) > mean(&rates["amazon_dsp"]));
    let shares = shares(&distributions, "status");
    assert!(shares["completed"] > 60.0 && shares["failed"] > 2.0, "{shares:?}");
    assert!(shares.contains_key("scheduled"), "{shares:?}");
}

/// What a distribution has must fit its status.
fn stages(distribution: &Value) {
    let status = text(distribution, "status");
    let has = |field| distribution.get(field).is_some();
    assert_eq!(has("match_results"), status == "completed");
    assert_eq!(has("completed_at"), status == "completed");
    assert_eq!(has("error_message"), status == "failed");
    let now = sample_now().to_string();
    assert_eq!(
        status == "scheduled",
        text(distribution, "scheduled_at") > now.as_str() && status != "cancelled"
    );
    if has("match_results") {
        let results = &distribution["match_results"];
        assert_eq!(results["matched_records"], distribution["matched_records"]);
        assert_eq!(results["match_rate"], distribution["match_rate"]);
        assert!(number(results, "matched_records") <= number(results, "total_records"));
        assert!(text(distribution, "executed_at") <= text(distribution, "completed_at"));
        assert!(text(distribution, "completed_at") <= now.as_str(), "{distribution}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// No seed, moment or number makes a body that is not JSON or lies in the future.
    #[test]
    fn any_key_makes_acceptable_records(seed: u64, user in 0..=MAX_USERS, now in 0..253_402_300_799_999_999_i64) {
        let options = Options { audiences: 3, platforms: 1, distributions: 3, months: 240 };
        let generator = Generator::new(seed, options, Micros::new(now));
        prop_assert!(UserId::checked(&generator.user_id(user)).is_ok());
        for record in generator.records(user) {
            let value: Value = serde_json::from_slice(&record.body).expect("JSON");
            let at = Micros::parse(text(&value, "created_at")).expect("an instant");
            prop_assert!(at.get() <= now);
        }
    }
}
