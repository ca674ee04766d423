//! The command line: help, settings and where they come from, refusals, `seed`.

use std::process::Command;

use audience_store::cli::settings_markdown;
use serde_json::{Value, json};

use crate::support::{Server, pages, program, run};

/// Runs a command that must fail: what it says.
fn refused(command: Command, code: i32) -> String {
    let shown = format!("{command:?}");
    let (exit, out, error) = run(command);
    assert_eq!((exit, out.as_str()), (code, ""), "{shown}: {error}");
    error
}

fn settings(mut command: Command) -> Value {
    command.args(["config", "--json"]);
    let (code, out, error) = run(command);
    assert_eq!(code, 0, "{error}");
    serde_json::from_str(&out).expect("JSON")
}

#[test]
fn help_names_every_command_and_setting() {
    let (code, help, _) = run(program(&["--help"]));
    assert_eq!(code, 0);
    for part in ["serve", "config", "seed", "token", "log", "Examples:", "AUDIENCE_STORE_CONFIG"] {
        assert!(help.contains(part), "no {part} in {help}");
    }
    let (_, serve, _) = run(program(&["serve", "--help"]));
    let (_, table, _) = run(program(&["config"]));
    let keys: Vec<_> = table.lines().skip(1).filter_map(|l| l.split(' ').next()).collect();
    assert!(keys.len() > 15, "{table}");
    for key in keys {
        let variable = format!("AUDIENCE_STORE_{}", key.to_uppercase().replace('-', "_"));
        for help in [&help, &serve] {
            assert!(help.contains(&format!("--{key} ")), "no --{key}");
            assert!(help.contains(&variable), "no {variable}");
        }
    }
    for command in [
        &["seed"][..],
        &["log", "inspect"],
        &["log", "truncate"],
        &["token", "create"],
        &["token", "list"],
        &["token", "revoke"],
    ] {
        let (code, help, _) = run(program(&[command, &["--help"]].concat()));
        assert_eq!((code, help.contains("--data <FOLDER>")), (0, true), "{command:?}: {help}");
    }
}

#[test]
fn the_version_is_the_crates() {
    let (code, out, _) = run(program(&["--version"]));
    assert_eq!((code, out.trim_end()), (0, concat!("audience-store ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn a_bad_value_is_refused_with_its_setting_its_source_and_what_is_accepted() {
    for (flag, value, accepts) in [
        ("checkpoint-interval", "5", "accepts a duration from 100ms to 1h"),
        ("sync", "sometimes", "accepts `always`, `off`, or `interval=`"),
        ("max-body", "1TB", "accepts a size from 1KiB to 8MiB"),
        ("mailbox", "0", "accepts a whole number from 1 to"),
        ("listen", "localhost", "accepts an address and port"),
        ("log-level", "loud", "accepts off, error"),
    ] {
        let error = refused(program(&["serve", &format!("--{flag}={value}")]), 2);
        for part in [&format!("`{flag}` is `{value}` (flag --{flag})"), accepts] {
            assert!(error.contains(part), "no {part} in {error}");
        }
        let variable = format!("AUDIENCE_STORE_{}", flag.to_uppercase().replace('-', "_"));
        let mut command = program(&["config"]);
        command.env(&variable, value);
        let error = refused(command, 2);
        assert!(error.contains(&format!("(environment {variable})")), "{error}");
    }
    let error = refused(program(&["serve", "--mailbox=x", "--sync=y", "--workers=z"]), 2);
    assert!(error.contains("3 settings are wrong"), "{error}");
    let error = refused(program(&["serve", "--no-such-flag"]), 2);
    assert!(error.contains("--no-such-flag"), "{error}");
    let error =
        refused(program(&["config", "--log-max-bytes=2MiB", "--log-segment-bytes=64MiB"]), 2);
    assert!(error.contains("`log-max-bytes`") && error.contains("`log-segment-bytes`"), "{error}");
}

#[test]
fn without_authentication_only_loopback_is_listened_on() {
    for open in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8080"] {
        for args in [&["serve", "--listen", open][..], &["--listen", open, "--auth", "off"]] {
            let error = refused(program(args), 2);
            assert!(error.contains("anyone who reaches the port"), "{error}");
            assert!(error.contains("--auth tokens"), "it says what to do: {error}");
        }
    }
}

#[test]
fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("store.toml");
    let toml = "data = \"from-file\"\nsync = \"off\"\nmailbox = 7\nworkers = 3\n";
    std::fs::write(&file, toml).expect("write");
    let path = file.to_str().expect("path");
    let given = || {
        let mut command = program(&[]);
        command.env("AUDIENCE_STORE_CONFIG", path);
        command.env("AUDIENCE_STORE_SYNC", "interval=50ms").env("AUDIENCE_STORE_MAILBOX", "8");
        command.env("AUDIENCE_STORE_WORKERS", "");
        command
    };
    let mut command = given();
    command.args(["config", "--json", "--mailbox", "9"]);
    let (code, out, error) = run(command);
    assert_eq!(code, 0, "{error}");
    let all: Value = serde_json::from_str(&out).expect("JSON");
    let of = |value: &str, source: &str, from: Value| json!({"value": value, "source": source, "from": from});
    assert_eq!(all["mailbox"], of("9", "flag", json!("--mailbox")));
    assert_eq!(all["sync"], of("interval=50ms", "environment", json!("AUDIENCE_STORE_SYNC")));
    assert_eq!(all["data"], of("from-file", "file", json!(format!("{path}:data"))));
    assert_eq!(all["workers"], of("3", "file", json!(format!("{path}:workers"))), "empty is unset");
    assert_eq!(all["checkpoint-interval"], of("5s", "default", Value::Null));

    let mut command = given();
    command.arg("config");
    let (_, table, _) = run(command);
    let row = |key: &str| table.lines().find(|l| l.starts_with(key)).expect("row").to_owned();
    assert!(row("mailbox").ends_with("environment AUDIENCE_STORE_MAILBOX"), "{table}");
    assert!(row("data").ends_with(&format!("file {path}:data")), "{table}");
    assert!(row("cache-bytes").ends_with("default"), "{table}");
    assert_eq!(settings(given())["mailbox"]["value"], "8");
}

#[test]
fn a_file_with_a_key_that_is_no_setting_or_that_is_no_toml_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("store.toml");
    let path = file.to_str().expect("path");
    for (toml, says) in [
        ("checkpoint_intervall = \"5s\"", "did you mean `checkpoint-interval`?"),
        ("colour = \"red\"", "`audience-store config` lists them"),
        ("mailbox = 0", &format!("`mailbox` is `0` (file {path}:mailbox)")[..]),
        ("data = ", "is not TOML"),
    ] {
        std::fs::write(&file, toml).expect("write");
        let error = refused(program(&["serve", "--config", path]), 2);
        assert!(error.contains(says) && error.contains(path), "{toml}: {error}");
    }
    let missing = refused(program(&["config", "--config", "/no/such/file.toml"]), 2);
    assert!(missing.contains("/no/such/file.toml (flag --config) cannot be read"), "{missing}");
}

#[tokio::test]
async fn a_seeded_store_is_served_and_seeding_again_adds_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let path = data.to_str().expect("path");
    for _ in 0..2 {
        let (code, out, error) = run(program(&[
            "seed",
            "--users",
            "3",
            "--audiences",
            "7",
            "--platforms",
            "2",
            "--distributions",
            "5",
            "--months",
            "4",
            "--until",
            "2026-06-01T00:00:00Z",
            "--data",
            path,
        ]));
        assert_eq!(code, 0, "{error}");
        assert!(!out.is_empty(), "it says what it made");
    }
    let users: Vec<String> = std::fs::read_dir(data.join("audiences"))
        .expect("folder")
        .map(|entry| entry.expect("entry").file_name().into_string().expect("UTF-8"))
        .map(|name| name.strip_prefix("user_id=").expect("user").to_owned())
        .collect();
    assert_eq!(users.len(), 3, "{users:?}");
    let server = Server::over(&data, &[]).await;
    for user in users {
        for (table, count) in [("audiences", 7), ("platforms", 2), ("distributions", 5)] {
            assert_eq!(pages(&server, table, &user).await.len(), count, "{table} of {user}");
        }
    }
}

#[test]
fn the_readme_lists_the_settings_as_they_are() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));
    let readme = readme.expect("README.md");
    let (_, rest) = readme.split_once("<!-- settings:begin -->").expect("settings:begin");
    let (table, _) = rest.split_once("<!-- settings:end -->").expect("settings:end");
    assert_eq!(table.trim(), settings_markdown().trim(), "paste this between the markers");
}
