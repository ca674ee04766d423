//! Traces of requests for a collector, as OTLP over HTTP. Only with the feature `otlp`.
//!
//! Spans are the server's requests and nothing else, named and filled as the semantic conventions
//! for HTTP servers say. A request with a `traceparent` belongs to that trace and follows its
//! decision to record; any other begins a trace of its own. Sent in batches by a thread of the
//! exporter's; what a collector does not take in time is dropped.

use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider,
};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Span;
use tracing::level_filters::LevelFilter;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Layer;

/// Sends what is left when it goes.
pub struct Exporting(SdkTracerProvider);

impl Drop for Exporting {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown() {
            tracing::warn!(%error, "not all traces were sent");
        }
    }
}

/// Begins to send the spans of requests to `collector`. Called before a runtime starts.
///
/// # Errors
/// Where the exporter cannot be made.
pub fn start(
    collector: &str,
) -> Result<(Box<dyn Layer<Registry> + Send + Sync>, Exporting), String> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{collector}/v1/traces"))
        .build()
        .map_err(|e| format!("traces cannot be sent to {collector}: {e}"))?;
    let resource = Resource::builder().with_service_name("audience-store").build();
    let provider =
        SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    let requests = Targets::new().with_target(crate::http::REQUEST_TARGET, LevelFilter::DEBUG);
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("audience-store"))
        .with_location(false)
        .with_threads(false)
        .with_filter(requests)
        .boxed();
    Ok((layer, Exporting(provider)))
}

/// Puts a span under its caller's, and answers the span's own id in the trace.
pub fn adopt(span: &Span, trace: u128, parent: u64, flags: u8) -> Option<u64> {
    let caller = SpanContext::new(
        TraceId::from_bytes(trace.to_be_bytes()),
        SpanId::from_bytes(parent.to_be_bytes()),
        TraceFlags::new(flags),
        true,
        TraceState::default(),
    );
    span.set_parent(Context::new().with_remote_span_context(caller)).ok()?;
    let own = span.context().span().span_context().span_id();
    Some(u64::from_be_bytes(own.to_bytes())).filter(|own| *own != 0)
}
