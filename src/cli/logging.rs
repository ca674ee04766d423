//! Where log lines, and with the feature `otlp` traces, go.

use std::io::IsTerminal;

use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

use super::{LogFormat, LoggingSettings};

/// What log lines and traces are handed to.
type Sink = Box<dyn Layer<Registry> + Send + Sync>;

/// Begins to write log lines as the settings say.
pub fn start_logging(settings: &LoggingSettings) {
    begin(vec![lines(settings)]);
}

/// Sends traces for as long as it lives, and what is left of them when it goes.
pub struct Traces {
    #[cfg(feature = "otlp")]
    _exporting: Option<crate::otlp::Exporting>,
}

/// Begins to write log lines, and to send traces to a collector where one is named. Called before
/// a runtime starts.
///
/// # Errors
/// What keeps traces from being sent: without the feature `otlp`, that there is none.
#[cfg(feature = "otlp")]
pub fn start_logging_and_traces(
    settings: &LoggingSettings,
    collector: Option<&str>,
) -> Result<Traces, String> {
    let mut sinks = vec![lines(settings)];
    let mut exporting = None;
    if let Some(collector) = collector {
        let (layer, started) = crate::otlp::start(collector)?;
        sinks.push(layer);
        exporting = Some(started);
    }
    begin(sinks);
    Ok(Traces { _exporting: exporting })
}

/// Begins to write log lines, and to send traces to a collector where one is named. Called before
/// a runtime starts.
///
/// # Errors
/// What keeps traces from being sent: without the feature `otlp`, that there is none.
#[cfg(not(feature = "otlp"))]
pub fn start_logging_and_traces(
    settings: &LoggingSettings,
    collector: Option<&str>,
) -> Result<Traces, String> {
    if collector.is_some() {
        return Err("`otlp-endpoint` is set, and this program cannot send traces: build it with \
                    `cargo build --release --features otlp`"
            .to_owned());
    }
    start_logging(settings);
    Ok(Traces {})
}

fn begin(sinks: Vec<Sink>) {
    // A second call in one process (a test) keeps the first one's settings.
    let _ = tracing_subscriber::registry().with(sinks).try_init();
}

fn lines(settings: &LoggingSettings) -> Sink {
    // They write an error for whatever a client sends wrong, as often as one likes; that is counted
    // instead.
    const QUIET: [&str; 2] = ["actix_http::h1::dispatcher=off", "actix_http::h2::dispatcher=off"];
    let mut filter = EnvFilter::new(&settings.level);
    if !settings.level.contains("actix_http") {
        for quiet in QUIET.iter().filter_map(|directive| directive.parse().ok()) {
            filter = filter.add_directive(quiet);
        }
    }
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match settings.format {
        LogFormat::Json => lines.json().with_filter(filter).boxed(),
        LogFormat::Text => {
            lines.with_ansi(std::io::stderr().is_terminal()).with_filter(filter).boxed()
        }
    }
}
