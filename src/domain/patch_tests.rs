use serde_json::{Value, json};

use super::*;
use crate::domain::input::Body;
use crate::domain::{Hold, MAX_CREDENTIALS, UserId};

const SAVE: &str = r#"{"user_id":"u","name":"A","data_type":"first_party","selected_variables":["X"],
    "insights":["i"],"audience_size":5,"metadata":{"a":1.50}}"#;

fn patch(table: Table, body: &str) -> Result<Patch, InputError> {
    Body::parse(body.as_bytes(), &InputLimits::default())?.patch(table)
}

fn shown(row: &Row) -> Value {
    let mut out = String::new();
    row.render(&UserId::checked("u").expect("user"), None, &|_, _| {}, &mut out);
    serde_json::from_str(&out).expect("json")
}

fn created(table: Table, body: &str) -> Row {
    let patch = patch(table, body).expect("patch");
    patch.check_create().expect("create");
    patch.created(RecordId::checked("x").expect("id"), Micros::new(10), Micros::new(10))
}

#[test]
fn a_create_takes_defaults_and_keeps_unknown_fields() {
    let row = created(Table::Audiences, SAVE);
    let shown = shown(&row);
    assert_eq!(shown["status"], "active");
    assert_eq!(shown["version"], 1);
    assert_eq!(shown["insights"], json!(["i"]));
    assert_eq!(shown["audience_size"], 5);
    assert_eq!(row.text("metadata"), Some(r#"{"a":1.50}"#));
}

#[test]
fn a_create_names_the_first_missing_field() {
    for (table, body, field) in [
        (Table::Audiences, r#"{"data_type":"first_party","selected_variables":[]}"#, "name"),
        (
            Table::Audiences,
            r#"{"name":" ","data_type":"first_party","selected_variables":[]}"#,
            "name",
        ),
        (Table::Audiences, r#"{"name":"n","selected_variables":[]}"#, "data_type"),
        (Table::Audiences, r#"{"name":"n","data_type":"first_party"}"#, "selected_variables"),
        (Table::Platforms, r#"{"name":"n"}"#, "platform_type"),
        (Table::Distributions, r#"{"audience_id":"a"}"#, "platform_id"),
    ] {
        let error = patch(table, body).expect("patch").check_create().expect_err(field);
        assert_eq!(error.message, format!("Missing required field: {field}"));
        assert_eq!(error.pointer, format!("/{field}"));
    }
}

#[test]
fn wrong_types_name_their_pointer() {
    for (table, body, pointer) in [
        (Table::Audiences, r#"{"name":5}"#, "/name"),
        (Table::Audiences, r#"{"status":"gone"}"#, "/status"),
        (Table::Audiences, r#"{"selected_variables":["a",1]}"#, "/selected_variables/1"),
        (Table::Audiences, r#"{"selected_variables":"a"}"#, "/selected_variables"),
        (Table::Audiences, r#"{"segments":{}}"#, "/segments"),
        (Table::Audiences, r#"{"metadata":[]}"#, "/metadata"),
        (Table::Audiences, r#"{"total_audience_size":1.5}"#, "/total_audience_size"),
        (Table::Audiences, r#"{"total_audience_size":-1}"#, "/total_audience_size"),
        (Table::Audiences, r#"{"created_at":"yesterday"}"#, "/created_at"),
        (Table::Audiences, r#"{"audience_id":"../x"}"#, "/audience_id"),
        (Table::Audiences, r#"{"name":"\ud800"}"#, "/name"),
        (Table::Audiences, r#"{"name":"a","name":"b"}"#, "/name"),
        (Table::Audiences, r#"{"x/y":["\u0000"]}"#, "/x~1y"),
        (Table::Distributions, r#"{"match_rate":"high"}"#, "/match_rate"),
        (Table::Distributions, r#"{"segments_distributed":[null]}"#, "/segments_distributed/0"),
    ] {
        let error = patch(table, body).expect_err(body);
        assert_eq!(error.pointer, pointer, "{body}: {error}");
        assert_eq!(error.kind, InputErrorKind::Invalid);
    }
    for body in ["", "[]", "{", "{} x", "\"a\"", "null"] {
        assert_eq!(patch(Table::Audiences, body).expect_err(body).kind, InputErrorKind::Malformed);
    }
}

#[test]
fn whole_numbers_may_come_as_doubles() {
    let row = created(
        Table::Audiences,
        r#"{"name":"n","data_type":"first_party","selected_variables":[],"total_audience_size":5.0}"#,
    );
    assert_eq!(shown(&row)["total_audience_size"], 5);
}

#[test]
fn an_update_changes_what_was_sent_and_merges_extra() {
    let row = created(Table::Audiences, SAVE);
    let change = patch(
        Table::Audiences,
        r#"{"name":"B","insights":null,"more":1,"created_at":"2025-01-01"}"#,
    )
    .expect("patch");
    change.check_update(&row.id).expect("update");
    let next = change.updated(&row, Micros::new(20));
    let shown = shown(&next);
    assert_eq!(shown["name"], "B");
    assert_eq!(shown["data_type"], "first_party");
    assert_eq!(
        (&shown["insights"], &shown["more"], &shown["audience_size"]),
        (&Value::Null, &json!(1), &json!(5))
    );
    assert_eq!(
        (next.version, next.updated_at, next.created_at),
        (2, Micros::new(20), Micros::new(10))
    );
    assert_eq!(change.ignored(&row), ["created_at"]);
}

#[test]
fn an_update_may_not_take_away_what_is_required() {
    let row = created(Table::Audiences, SAVE);
    for body in [r#"{"name":null}"#, r#"{"name":""}"#, r#"{"audience_id":"other"}"#] {
        assert!(
            patch(Table::Audiences, body).expect("patch").check_update(&row.id).is_err(),
            "{body}"
        );
    }
}

#[test]
fn time_never_goes_back_for_a_record() {
    let row = created(Table::Audiences, SAVE);
    let next = patch(Table::Audiences, "{}").expect("patch").updated(&row, Micros::new(1));
    assert_eq!(next.updated_at, row.updated_at);
}

#[test]
fn completing_a_distribution_lifts_what_lies_inside() {
    let row = created(
        Table::Distributions,
        r#"{"audience_id":"a","platform_id":"p","metadata":{"campaign_name":"Q4"}}"#,
    );
    assert_eq!(shown(&row)["status"], "scheduled");
    let first = r#"{"status":"completed","metadata":{"completed_at":"2025-05-30T13:00:00","match_rate":0.72,"matched_records":108000}}"#;
    let next = patch(Table::Distributions, first)
        .expect("patch")
        .into_status()
        .expect("status")
        .updated(&row, Micros::new(99));
    let seen = shown(&next);
    assert_eq!(seen["match_rate"], 0.72);
    assert_eq!(seen["matched_records"], 108_000);
    assert_eq!(seen["completed_at"], "2025-05-30T13:00:00.000000Z");
    assert_eq!(seen["metadata"]["campaign_name"], "Q4");
    assert_eq!(seen["metadata"]["match_rate"], 0.72);

    let second = r#"{"status":"completed","match_results":{"total_records":5,"match_rate":0.5}}"#;
    let next = patch(Table::Distributions, second)
        .expect("patch")
        .into_status()
        .expect("status")
        .updated(&row, Micros::new(99));
    let seen = shown(&next);
    assert_eq!((&seen["match_rate"], &seen["total_records"]), (&json!(0.5), &Value::Null));
    assert_eq!(seen["completed_at"], "1970-01-01T00:00:00.000099Z");
    assert_eq!(seen["match_results"]["total_records"], 5);

    let bad = r#"{"status":"failed","error_details":{"error_message":5}}"#;
    let error = patch(Table::Distributions, bad).expect("patch").into_status().expect_err("type");
    assert_eq!(error.pointer, "/error_details/error_message");
    let none = patch(Table::Audiences, "{}").expect("patch").into_status().expect_err("status");
    assert_eq!(none.message, "Missing required field: status");
}

#[test]
fn credentials_are_kept_replaced_or_removed_and_never_plain_in_a_row() {
    let of = |body: &str| patch(Table::Platforms, body).expect("patch");
    let at = Micros::new(1);
    let mut create = of(r#"{"name":"n","platform_type":"meta","credentials":{ "api_key" : "k" }}"#);
    assert_eq!(create.unsealed().expect("plain").expose(), r#"{"api_key":"k"}"#);
    assert!(!format!("{create:?}").contains("api_key"), "{create:?}");
    let plain = create.clone().created(RecordId::checked("x").expect("id"), at, at);
    assert_eq!(plain.sealed(), None, "what is not sealed does not get into a row");
    create.seal(Sealed { bytes: Box::from([9, 9]), hold: Hold::default() });
    let row = create.created(RecordId::checked("x").expect("id"), at, at);
    assert_eq!(row.sealed(), Some(&[9, 9][..]));

    let kept = of(r#"{"name":"m"}"#).updated(&row, at);
    assert_eq!((kept.sealed(), kept.version), (row.sealed(), 2));
    let view = of(r#"{"credentials":{"encrypted":true,"account_id":"1"}}"#);
    assert_eq!(view.updated(&row, at).sealed(), row.sealed());
    assert_eq!(of(r#"{"credentials":null}"#).updated(&row, at).sealed(), None);
    let mut other = of(r#"{"credentials":{}}"#);
    other.seal(Sealed { bytes: Box::from([7]), hold: Hold::default() });
    assert_eq!(other.updated(&row, at).sealed(), Some(&[7][..]));
}

#[test]
fn credentials_are_an_object_of_some_size_and_no_view_at_first() {
    let of = |body: &str| patch(Table::Platforms, body);
    for bad in ["[]", "\"text\"", "1", "true", r#"{"a":"\u0000"}"#] {
        let error = of(&format!(r#"{{"credentials":{bad}}}"#)).expect_err(bad);
        assert_eq!((error.kind, &*error.pointer), (InputErrorKind::Invalid, "/credentials"));
    }
    let long = |len: usize| format!(r#"{{"credentials":{{"k":"{}"}}}}"#, "s".repeat(len));
    assert!(of(&long(MAX_CREDENTIALS - 8)).is_ok());
    let error = of(&long(MAX_CREDENTIALS - 7)).expect_err("too long");
    assert!(!error.message.contains("ss"), "{error}");
    let view = r#"{"name":"n","platform_type":"meta","credentials":{"encrypted":true}}"#;
    let view = of(view).expect("patch");
    assert!(view.check_create().is_ok(), "the id it brings may exist");
    assert_eq!(view.check_insert().expect_err("none").pointer, "/credentials");
}
