//! Example bodies.

#![allow(
    clippy::indexing_slicing,
    reason = "a JSON object indexed by name takes the name in; a test builds the whole document"
)]

use serde_json::{Value, json};

use crate::domain::Table;

/// What a client sends to create a record.
#[must_use]
pub fn create(table: Table) -> Value {
    match table {
        Table::Audiences => json!({
            "user_id": "demo_user",
            "name": "Gaming Gen Z",
            "description": "Males aged 18-24 interested in gaming",
            "data_type": "first_party",
            "selected_variables": ["AGE_18_24", "GAMING_INT"],
            "total_audience_size": 67842,
            "status": "active",
            "metadata": {"tags": ["q4"]},
        }),
        Table::Platforms => json!({
            "user_id": "demo_user",
            "platform_type": "the_trade_desk",
            "name": "My Trade Desk account",
            "credentials": {"api_key": "the-key", "account_id": "12345"},
            "settings": {"default_match_rate": 0.7, "auto_refresh": true, "refresh_frequency": "weekly"},
        }),
        _ => json!({
            "user_id": "demo_user",
            "audience_id": "aud_12345678",
            "platform_id": "plat_12345678",
            "platform_type": "the_trade_desk",
            "segments_distributed": [0, 1, 2],
            "total_records": 150_000,
        }),
    }
}

/// What a client sends to change a record.
#[must_use]
pub fn update(table: Table) -> Value {
    match table {
        Table::Audiences => {
            json!({"user_id": "demo_user", "status": "draft", "metadata": {"tags": ["q1"]}})
        }
        Table::Platforms => {
            json!({"user_id": "demo_user", "status": "pending", "settings": {"auto_refresh": false}})
        }
        _ => json!({"user_id": "demo_user", "status": "pending", "metadata": {"tags": ["q1"]}}),
    }
}

/// What a client sends to set a status.
#[must_use]
pub fn status(table: Table) -> Value {
    match table {
        Table::Distributions => json!({
            "user_id": "demo_user",
            "status": "completed",
            "match_results": {"matched_records": 108_000, "match_rate": 0.72},
        }),
        Table::Platforms => json!({"user_id": "demo_user", "status": "active"}),
        _ => json!({"user_id": "demo_user", "status": "archived"}),
    }
}

/// A record as it is shown.
#[must_use]
pub fn record(table: Table) -> Value {
    let mut record = create(table);
    let spec = table.spec();
    if table == Table::Platforms {
        record["credentials"] = json!({"encrypted": true, "account_id": "12345"});
    }
    record[spec.id_column()] = json!(format!("{}01970c2f6a007c3e9d7a5b1c2d3e4f50", spec.id_prefix));
    record["created_at"] = json!("2025-05-30T12:00:00.000000Z");
    record["updated_at"] = json!("2025-05-30T12:00:00.000000Z");
    record["status"] = json!(spec.default_status());
    record["version"] = json!(1);
    record
}
