use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::auth::AuthSettings;
use crate::auth::jwt::KeySource;
use crate::env::OsFileSystem;

/// Parses `audience-store ARGS…` in an environment of these variables.
fn run(args: &[&str], variables: &[(&str, &str)]) -> Result<Command, CliError> {
    let environment = |name: &str| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned())
    };
    let args = std::iter::once("audience-store").chain(args.iter().copied());
    parse(args.map(OsString::from), &environment, &OsFileSystem)
}

fn serve(args: &[&str], variables: &[(&str, &str)]) -> Settings {
    match run(args, variables) {
        Ok(Command::Serve(settings)) => *settings,
        Ok(_) => panic!("{args:?} is another command"),
        Err(e) => panic!("{args:?}: {e}"),
    }
}

fn refused(args: &[&str], variables: &[(&str, &str)]) -> CliError {
    run(args, variables).err().unwrap_or_else(|| panic!("{args:?} {variables:?} is accepted"))
}

/// A folder with a configuration file in it, and the file's path.
fn file(text: &str) -> (TempDir, String) {
    let folder = TempDir::new().expect("folder");
    let path = folder.path().join("store.toml");
    OsFileSystem.replace(&path, text.as_bytes()).expect("file");
    let path = path.to_str().expect("text").to_owned();
    (folder, path)
}

#[test]
fn nothing_given_starts_the_server_with_the_defaults() {
    let settings = serve(&[], &[]);
    assert_eq!(settings, serve(&["serve"], &[]));
    assert_eq!(settings.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.http.max_body, 1 << 20);
    assert_eq!(settings.store.data, Path::new("data/persistence"));
    assert_eq!(settings.store.sync, SyncMode::Always);
    assert_eq!(settings.store.checkpoint_interval, Duration::from_secs(5));
    assert_eq!(settings.store.idle_timeout, Duration::from_mins(1));
    assert_eq!(settings.store.log_max_bytes, 4 << 30);
    assert_eq!(settings.logging.format, LogFormat::Text);
    assert_eq!(settings.logging.level, "info");
}

#[test]
fn flags_need_no_command() {
    let settings = serve(&["--sync", "interval=50ms", "--listen=127.0.0.1:9000"], &[]);
    assert_eq!(settings.store.sync, SyncMode::Interval(Duration::from_millis(50)));
    assert_eq!(settings.http.listen.port(), 9000);
}

#[test]
fn flag_over_environment_over_file_over_default() {
    let (_folder, path) = file("mailbox = 11\nworkers = 12\narbiters = 13\n");
    let variables = [
        ("AUDIENCE_STORE_CONFIG", path.as_str()),
        ("AUDIENCE_STORE_MAILBOX", "21"),
        ("AUDIENCE_STORE_WORKERS", "22"),
        ("AUDIENCE_STORE_MAX_BODY", ""),
    ];
    let settings = serve(&["--mailbox", "31"], &variables);
    assert_eq!(settings.store.mailbox, 31, "flag");
    assert_eq!(settings.http.workers, 22, "environment");
    assert_eq!(settings.store.arbiters, 13, "file");
    assert_eq!(settings.http.max_connections, 10_000, "default");
    assert_eq!(settings.http.max_writes, 4096, "default");
    assert_eq!(settings.http.max_body, 1 << 20, "an empty variable is not set");
}

#[test]
fn config_tells_every_source() {
    let (_folder, path) = file("data = \"/srv/a\"\nresident-bytes = 33554432\n");
    let args = ["config", "--json", "--config", &path, "--mailbox", "31"];
    let Ok(Command::Config { resolved, json: true }) =
        run(&args, &[("AUDIENCE_STORE_SYNC", "off")])
    else {
        panic!("no configuration")
    };
    let said = |key: &str| {
        let entry = resolved.entries().find(|e| e.setting.about().key == key).expect(key);
        format!("{} from {}", entry.text, entry.source)
    };
    assert_eq!(said("mailbox"), "31 from flag --mailbox");
    assert_eq!(said("sync"), "off from environment AUDIENCE_STORE_SYNC");
    assert_eq!(said("data"), format!("/srv/a from file {path}:data"));
    assert_eq!(said("listen"), "127.0.0.1:8080 from default");
    assert!(as_table(&resolved).contains("resident-bytes          32MiB "));
}

#[test]
fn the_flag_for_the_file_beats_the_variable() {
    let (_one, flagged) = file("mailbox = 11\n");
    let (_two, named) = file("mailbox = 12\n");
    let settings = serve(&["--config", &flagged], &[("AUDIENCE_STORE_CONFIG", &named)]);
    assert_eq!(settings.store.mailbox, 11);
}

/// A value that each setting refuses, and what its message must say beyond what is accepted.
const BAD: &[(&str, &str, &str)] = &[
    ("listen", "0.0.0.0:8080", "with `--auth off` anyone who reaches the port"),
    ("listen", "localhost", "not understood"),
    ("metrics-listen", "0.0.0.0:9100", "with `--auth off` anyone who reaches the port could read"),
    ("metrics-listen", "9100", "not understood"),
    ("usage-interval", "1ms", "out of range"),
    ("history-interval", "2h", "out of range"),
    ("report-files", "-1", "not understood"),
    ("workers", "-1", "not understood"),
    ("max-connections", "0", "out of range"),
    ("max-writes", "0", "out of range"),
    ("request-timeout", "30", "the unit is missing"),
    ("keep-alive", "2h", "out of range"),
    ("drain-timeout", "soon", "not understood"),
    ("auth", "on", "not understood"),
    ("auth", "Off", "not understood"),
    ("jwt-keys", "http://id.example/jwks", "not an address that keys may come from"),
    ("jwt-secret-file", "a\0b", "not understood"),
    ("jwt-ca-file", "a\0b", "not understood"),
    ("jwt-issuer", " ", "not understood"),
    ("jwt-audience", " ", "not understood"),
    ("jwt-user-claim", " ", "not understood"),
    ("jwt-scope-claim", " ", "not understood"),
    ("jwt-leeway", "6m", "out of range"),
    ("jwt-refresh", "0s", "out of range"),
    ("jwt-cooldown", "10", "the unit is missing"),
    ("jwt-stale", "31d", "out of range"),
    ("archive-after", "90", "the unit is missing"),
    ("archive-status", " ", "not understood"),
    ("scrub-rate", "fast", "not understood"),
    ("audit-file-bytes", "1KiB", "out of range"),
    ("audit-files", "1", "out of range"),
    ("data", "a\0b", "not understood"),
    ("key-ring", "keys/", "not understood"),
    ("sync", "sometimes", "not understood"),
    ("sync", "interval=1m", "out of range"),
    ("checkpoint-interval", "99ms", "out of range"),
    ("checkpoint-bytes", "1KiB", "out of range"),
    ("checkpoint-concurrency", "65", "out of range"),
    ("log-segment-bytes", "2GiB", "out of range"),
    ("log-max-bytes", "64M", "not understood"),
    ("log-keep-bytes", "all", "not understood"),
    ("disk-reserve", "much", "not understood"),
    ("close-timeout", "never", "not understood"),
    ("resident-bytes", "lots", "not understood"),
    ("resident-partitions", "1.5", "not understood"),
    ("idle-timeout", "0s", "out of range"),
    ("cache-bytes", "2TiB", "out of range"),
    ("header-timeout", "1ms", "out of range"),
    ("body-timeout", "30", "the unit is missing"),
    ("write-timeout", "11m", "out of range"),
    ("min-rate", "0", "out of range"),
    ("tls-cert", "a\0b", "not understood"),
    ("tls-key", "a\0b", "not understood"),
    ("cors-origin", "*", "`*` would let every page in"),
    ("max-body", "9MiB", "out of range"),
    ("max-bodies", "7MiB", "out of range"),
    ("max-json-depth", "65", "out of range"),
    ("max-json-nodes", "99", "out of range"),
    ("max-name", "63", "out of range"),
    ("max-text", "1", "out of range"),
    ("max-list", "0", "out of range"),
    ("max-extra", "1", "out of range"),
    ("max-page", "1KiB", "out of range"),
    ("max-pages", "512KiB", "out of range"),
    ("rate-limit", "-1", "not understood"),
    ("audited-rate", "1000001", "out of range"),
    ("quota-audiences", "many", "not understood"),
    ("quota-bytes", "1PiB", "not understood"),
    ("mailbox", "0", "out of range"),
    ("arbiters", "1025", "out of range"),
    ("otlp-endpoint", "https://collector:4318", "not understood"),
    ("log-format", "xml", "not understood"),
    ("log-level", "inof", "`inof` is not a level"),
];

#[test]
fn every_setting_says_what_is_wrong_whatever_the_source() {
    for setting in table::ALL {
        assert!(BAD.iter().any(|(key, ..)| *key == setting.about().key), "{}", setting.about().key);
    }
    for &(key, text, reason) in BAD {
        let setting = table::ALL.iter().find(|s| s.about().key == key).expect(key);
        let name = setting.about().environment();
        let (_folder, path) = file(&format!("{key} = {}\n", toml_text(text)));
        let flag = format!("--{key}={text}");
        for (error, source) in [
            (refused(&[&flag], &[]), format!("flag --{key}")),
            (refused(&[], &[(&name, text)]), format!("environment {name}")),
            (refused(&["--config", &path], &[]), format!("file {path}:{key}")),
        ] {
            let wanted = format!("`{key}` is `{text}` ({source}): {reason}");
            let said = error.to_string();
            assert!(said.starts_with(&wanted), "{said}\nlacks {wanted}");
            assert!(said.ends_with(&format!("; accepts {}", setting.accepts())), "{said}");
            assert_eq!(error.exit_code(), 2);
        }
    }
}

fn toml_text(text: &str) -> String {
    format!("\"{}\"", text.replace('\0', "\\u0000"))
}

#[test]
fn every_mistake_is_said_at_once() {
    let (_folder, path) = file("mailbox = 0\nlisen = \"127.0.0.1:1\"\n");
    let said = refused(&["--config", &path, "--sync", "no"], &[("AUDIENCE_STORE_WORKERS", "x")]);
    let said = said.to_string();
    assert!(said.starts_with("4 settings are wrong:\n"), "{said}");
    for wanted in ["`lisen`", "`mailbox`", "`sync`", "`workers`"] {
        assert!(said.contains(wanted), "{said}");
    }
}

#[test]
fn an_unknown_key_names_its_nearest() {
    for (key, nearest) in [
        ("lisen", Some("listen")),
        ("checkpoint_interval", Some("checkpoint-interval")),
        ("checkpoint-intervall", Some("checkpoint-interval")),
        ("Data", Some("data")),
        ("logformat", Some("log-format")),
        ("replicas", None),
        ("x", None),
    ] {
        let (_folder, path) = file(&format!("{key} = 1\n"));
        let said = refused(&["--config", &path], &[]).to_string();
        let end = nearest.map_or("; `audience-store config` lists them".to_owned(), |nearest| {
            format!("; did you mean `{nearest}`?")
        });
        assert_eq!(said, format!("`{key}` (file {path}) is no setting{end}"));
    }
}

#[test]
fn a_file_that_is_no_settings_file() {
    let said = refused(&["--config", "/no/such.toml"], &[]).to_string();
    assert!(
        said.starts_with("the configuration file /no/such.toml (flag --config) cannot"),
        "{said}"
    );
    let said = refused(&[], &[("AUDIENCE_STORE_CONFIG", "/no/such.toml")]).to_string();
    assert!(said.contains("(environment AUDIENCE_STORE_CONFIG)"), "{said}");

    let (_folder, path) = file("mailbox = \n");
    let said = refused(&["--config", &path], &[]).to_string();
    assert!(said.contains("is not TOML") && said.contains("line 1"), "{said}");
    let (_folder, path) = file("mailbox = 1\nmailbox = 2\n");
    assert!(refused(&["--config", &path], &[]).to_string().contains("duplicate key"));
    let (_folder, path) = file("mailbox = [1]\nsync = true\n[log]\nlevel = \"info\"\n");
    let said = refused(&["--config", &path], &[]).to_string();
    assert!(said.contains("`mailbox` is `[1]`") && said.contains("`sync` is `true`"), "{said}");
    assert!(said.contains("`log` (file"), "{said}");
}

#[test]
fn other_addresses_need_authentication() {
    for open in ["0.0.0.0:0", "[::]:8080", "192.168.1.4:80", "[::ffff:127.0.0.1]:80"] {
        let listen = format!("--listen={open}");
        for args in [&[&listen[..]][..], &[&listen, "--auth", "off"]] {
            let said = refused(args, &[]).to_string();
            assert!(said.contains("with `--auth off` anyone"), "{said}");
        }
        let settings = serve(&[&listen, "--auth", "tokens"], &[]);
        assert_eq!(
            (settings.http.listen.to_string(), settings.auth),
            (open.into(), AuthSettings::Tokens)
        );
    }
    for here in ["127.0.0.1:0", "127.9.9.9:80", "[::1]:8080"] {
        assert_eq!(serve(&["--listen", here], &[]).auth, AuthSettings::Off);
    }
}

#[test]
fn web_tokens_need_keys_of_one_kind_an_issuer_and_an_audience() {
    let whole = ["--auth=jwt", "--jwt-keys=k.pem", "--jwt-issuer=i", "--jwt-audience=a"];
    let AuthSettings::Jwt { keys, rules, policy } = serve(&whole, &[]).auth else { panic!("jwt") };
    assert_eq!(keys, KeySource::Public("k.pem".into()));
    assert_eq!((&rules.issuer[..], &rules.audience[..], rules.leeway), ("i", "a", 30));
    assert_eq!((&rules.user_claim[..], &rules.scope_claim[..]), ("sub", "scope"));
    assert_eq!(policy.stale, Duration::from_hours(24));
    for (lacks, says) in [(1, "`jwt-keys`"), (2, "`jwt-issuer`"), (3, "`jwt-audience`")] {
        let mut args = whole.to_vec();
        args.remove(lacks);
        let said = refused(&args, &[]).to_string();
        assert!(said.starts_with(says) && said.contains("`--auth jwt` needs"), "{said}");
    }
    let said = refused(&["--auth=jwt"], &[]).to_string();
    assert!(said.starts_with("3 settings are wrong"), "{said}");
    let both = [&whole[..], &["--jwt-secret-file=s"]].concat();
    assert!(refused(&both, &[]).to_string().contains("one of the two"));
    let authority = [&whole[..], &["--jwt-ca-file=c"]].concat();
    assert!(refused(&authority, &[]).to_string().contains("keys from an address"));
    let mut url = authority;
    url[1] = "--jwt-keys=https://id.example/k";
    let AuthSettings::Jwt { keys: KeySource::Url { authority, .. }, .. } = serve(&url, &[]).auth
    else {
        panic!("an address")
    };
    assert_eq!(authority, Some("c".into()));
    let secret = ["--auth=jwt", "--jwt-secret-file=s", "--jwt-issuer=i", "--jwt-audience=a"];
    let AuthSettings::Jwt { keys, .. } = serve(&secret, &[]).auth else { panic!("jwt") };
    assert_eq!(keys, KeySource::Secret("s".into()));
}

#[test]
fn a_token_that_cannot_be_is_refused_before_anything_is_touched() {
    let make = |args: &[&str]| run(&[&["token", "create"], args].concat(), &[]);
    let whole = ["--user", "u", "--scope", "admin", "--scope", "metrics:read", "--ttl", "90d"];
    assert!(matches!(
        make(&[&whole[..], &["--data", "x", "--name", "ci"]].concat()),
        Ok(Command::Token { data, command: TokenCommand::Create(_) }) if data == Path::new("x")
    ));
    for bad in [
        &["--scope", "admin"][..],
        &["--user", "u"],
        &["--user", "u", "--scope", "root"],
        &["--user", "", "--scope", "admin"],
        &["--user", "u", "--scope", "admin", "--ttl", "90"],
        &["--user", "u", "--scope", "admin", "--ttl", "1ms"],
        &["--user", "u", "--scope", "admin", "--name", " "],
    ] {
        assert_eq!(make(bad).err().map(|e| e.exit_code()), Some(2), "{bad:?}");
    }
    let list = run(&["token", "list", "--json"], &[("AUDIENCE_STORE_DATA", "y")]);
    assert!(matches!(
        list,
        Ok(Command::Token { data, command: TokenCommand::List { json: true } }) if data == Path::new("y")
    ));
    assert!(run(&["token", "revoke"], &[]).is_err() && run(&["token"], &[]).is_err());
}

#[test]
fn values_must_go_together() {
    let said = refused(&["--log-max-bytes", "100MiB"], &[]).to_string();
    assert_eq!(
        said,
        "`log-max-bytes` is `100MiB` (flag --log-max-bytes): must be at least twice \
         `log-segment-bytes`, which is `64MiB` (default)"
    );
    let said =
        refused(&["--resident-bytes", "4MiB"], &[("AUDIENCE_STORE_CHECKPOINT_BYTES", "5MiB")]);
    assert!(said.to_string().contains("must not be less than `checkpoint-bytes`"), "{said}");
    serve(&["--resident-bytes", "8MiB", "--log-max-bytes", "128MiB"], &[]);
    refused(&["config", "--resident-bytes", "4MiB"], &[]);
    refused(&["seed", "--resident-bytes", "4MiB"], &[]);
}

#[test]
fn seed_takes_the_store_and_its_own_numbers() {
    let Ok(Command::Seed(seed)) =
        run(&["seed", "--data", "d", "--users=7", "--months", "3", "--sync", "off"], &[])
    else {
        panic!("no seed")
    };
    assert_eq!((seed.users, seed.options.months, seed.options.audiences), (7, 3, 50));
    assert_eq!((seed.store.data.as_path(), seed.store.sync), (Path::new("d"), SyncMode::Off));
    assert_eq!((seed.seed, seed.concurrency, seed.until), (seed::DEFAULT_SEED, 256, None));
    let Ok(Command::Seed(seed)) = run(&["seed", "--until", "2026-11-01"], &[]) else {
        panic!("no seed")
    };
    assert_eq!(seed.until, Some(seed::sample_now()));
    for args in [
        ["seed", "--users=0"],
        ["seed", "--months=0"],
        ["seed", "--concurrency=0"],
        ["seed", "--until=later"],
        ["seed", "--listen=127.0.0.1:1"],
    ] {
        assert_eq!(refused(&args, &[]).exit_code(), 2);
    }
}

#[test]
fn log_commands_take_the_folder_alone() {
    let (_folder, path) = file("data = \"/srv/a\"\nmailbox = 0\n");
    let Ok(Command::LogInspect { data, from_lsn: Some(7), json: true }) =
        run(&["log", "inspect", "--from", "7", "--json", "--config", &path], &[])
    else {
        panic!("a setting that the command does not take must not stop it")
    };
    assert_eq!(data, Path::new("/srv/a"));
    assert!(matches!(
        run(&["log", "truncate", "--at", "9", "--data", "d"], &[]),
        Ok(Command::LogTruncate { at: 9, yes: false, .. })
    ));
    for args in [
        &["log", "truncate"][..],
        &["log", "truncate", "--at", "0"],
        &["log", "inspect", "--sync", "off"],
        &["log"],
    ] {
        assert_eq!(refused(args, &[]).exit_code(), 2, "{args:?}");
    }
}

#[test]
fn help_tells_every_default_and_variable() {
    for args in [&["--help"][..], &["serve", "--help"], &["config", "--help"], &["--help"]] {
        let help = refused(args, &[]);
        assert_eq!(help.exit_code(), 0);
        // Wrapping may break a line anywhere between words.
        let help: Vec<_> = help.to_string().split_whitespace().map(str::to_owned).collect();
        let help = help.join(" ");
        for setting in table::ALL {
            let about = setting.about();
            let (default, variable) = (about.shown_default(), about.environment());
            let said = format!("[default: {default}] [env: {variable}]");
            assert!(help.contains(&said), "{args:?} lacks {said}");
            assert!(help.contains(&format!("--{} <{}>", about.key, about.placeholder)));
        }
    }
    let help = refused(&["--help"], &[]).to_string();
    for heading in
        ["Network:", "Storage:", "Durability:", "Memory:", "Limits:", "Logging:", "Examples:"]
    {
        assert_eq!(help.matches(&format!("\n{heading}\n")).count(), 1, "{heading}");
    }
    let version = refused(&["--version"], &[]);
    assert_eq!(version.exit_code(), 0);
    assert_eq!(version.to_string().trim(), format!("audience-store {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_clap_refuses_exits_with_2() {
    for args in [&["--nonsense"][..], &["nonsense"], &["--mailbox"], &["--mailbox=1", "config"]] {
        assert_eq!(refused(args, &[]).exit_code(), 2, "{args:?}");
    }
    let said = refused(&["--lisen", "x"], &[]).to_string();
    assert!(said.contains("--listen"), "{said}");
}
