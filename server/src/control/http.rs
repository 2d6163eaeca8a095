//! HTTP for operators, on hyper over glommio's sockets.
//!
//! GET and HEAD change nothing; POST exists for injected faults alone. Connections are few and short-lived: a slow
//! or idle one is closed, and beyond a limit new ones are.

mod stream;

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use glommio::Task;
use glommio::net::TcpListener;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};

use stream::HyperStream;

const CONNECTIONS_MAX: usize = 64;
/// A connection lives this long at most, whatever it does.
const CONNECTION_LIFE: Duration = Duration::from_secs(60);
const HEADERS_MAX: usize = 32;
/// Of what is posted.
const BODY_BYTES_MAX: usize = 4 << 10;
const JSON: &str = "application/json";

/// What the admin port shows.
pub(crate) trait Shown: 'static {
    /// Whether every part of the server works; else a line for each that does not.
    fn health(&self) -> Result<(), String>;
    /// Whether clients are served; else why not yet.
    fn readiness(&self) -> Result<(), String>;
    /// Prometheus text.
    fn metrics(&self) -> impl Future<Output = String>;
    /// The injected faults, as JSON.
    fn faults(&self) -> String;
    /// Injects the fault that `body` describes, or ends faults if `clear`; JSON.
    fn change_faults(&self, clear: bool, body: &[u8]) -> Result<String, Refused>;
}

/// Why faults were not changed, as a sentence.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The server was not started for that.
    Forbidden(String),
    Bad(String),
}

/// Serves on `address` until the task is dropped.
pub(crate) fn serve<S: Shown>(
    address: SocketAddr,
    token: Option<String>,
    shown: Rc<S>,
) -> io::Result<Task<()>> {
    let listener = TcpListener::bind(address)?;
    let token: Option<Rc<str>> = token.map(Rc::from);
    let open = Rc::new(Cell::new(0));
    let accept = async move {
        loop {
            let Ok(stream) = listener.accept().await else {
                // Out of descriptors, most likely: others may close some.
                glommio::timer::sleep(Duration::from_millis(100)).await;
                continue;
            };
            if CONNECTIONS_MAX <= open.get() {
                continue;
            }
            let conversation = converse(HyperStream::new(stream), token.clone(), Rc::clone(&shown));
            let guest = Guest::enter(&open);
            let task = glommio::spawn_local(async move {
                // Whether the client left early or was too slow, nothing remains to be done.
                let _ = glommio::timer::timeout(CONNECTION_LIFE, async {
                    conversation.await;
                    Ok(())
                })
                .await;
                drop(guest);
            });
            task.detach();
        }
    };
    Ok(glommio::spawn_local(accept))
}

/// Counts an open connection for as long as it lives.
struct Guest(Rc<Cell<usize>>);

impl Guest {
    fn enter(open: &Rc<Cell<usize>>) -> Self {
        open.set(open.get() + 1);
        Self(Rc::clone(open))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

async fn converse<S: Shown>(stream: HyperStream, token: Option<Rc<str>>, shown: Rc<S>) {
    let service = service_fn(move |request| {
        let (token, shown) = (token.clone(), Rc::clone(&shown));
        async move { Ok::<_, Infallible>(respond(request, token.as_deref(), &*shown).await) }
    });
    let mut http = http1::Builder::new();
    http.max_headers(HEADERS_MAX).half_close(true);
    // An error here is the client's: it left, or spoke something else than HTTP.
    let _ = http.serve_connection(stream, service).await;
}

type Answer = Response<Full<Bytes>>;

async fn respond<S: Shown>(request: Request<Incoming>, token: Option<&str>, shown: &S) -> Answer {
    let clear = match (request.method(), request.uri().path()) {
        (&Method::POST, "/faults") => false,
        (&Method::POST, "/faults/clear") => true,
        _ => return answer(&request, token, shown).await,
    };
    if !token.is_none_or(|token| bears(&request, token)) {
        return unauthorized();
    }
    // A page in a browser can send nothing of this type to another site unasked.
    let is_json = request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == JSON);
    if !is_json {
        return text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "expects application/json\n");
    }
    let Ok(body) = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await else {
        return text(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long, or broke off\n");
    };
    match shown.change_faults(clear, &body.to_bytes()) {
        Ok(done) => json(done),
        Err(Refused::Forbidden(why)) => text(StatusCode::FORBIDDEN, format!("{why}\n")),
        Err(Refused::Bad(why)) => text(StatusCode::BAD_REQUEST, format!("{why}\n")),
    }
}

async fn answer<S: Shown, B>(request: &Request<B>, token: Option<&str>, shown: &S) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served\n");
        refusal.headers_mut().insert(ALLOW, "GET, HEAD".parse().expect("a valid header"));
        return refusal;
    }
    if !token.is_none_or(|token| bears(request, token)) {
        return unauthorized();
    }
    match request.uri().path() {
        "/healthz" => state(shown.health()),
        "/readyz" => state(shown.readiness()),
        "/metrics" => {
            let mut page = text(StatusCode::OK, shown.metrics().await);
            let prometheus = "text/plain; version=0.0.4".parse().expect("a valid header");
            page.headers_mut().insert(CONTENT_TYPE, prometheus);
            page
        }
        "/faults" => json(shown.faults()),
        _ => text(StatusCode::NOT_FOUND, "served here: /healthz /readyz /metrics /faults\n"),
    }
}

fn unauthorized() -> Answer {
    let mut refusal = text(StatusCode::UNAUTHORIZED, "a bearer token is required\n");
    refusal.headers_mut().insert(WWW_AUTHENTICATE, "Bearer".parse().expect("a valid header"));
    refusal
}

fn json(body: String) -> Answer {
    let mut answer = text(StatusCode::OK, body);
    answer.headers_mut().insert(CONTENT_TYPE, JSON.parse().expect("a valid header"));
    answer
}

fn state(state: Result<(), String>) -> Answer {
    match state {
        Ok(()) => text(StatusCode::OK, "ok\n"),
        Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let plain = "text/plain; charset=utf-8".parse().expect("a valid header");
    answer.headers_mut().insert(CONTENT_TYPE, plain);
    answer
}

/// Compares every byte whatever the first difference, so that timing tells nothing.
fn bears<B>(request: &Request<B>, token: &str) -> bool {
    let given = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes());
    let Some(given) = given.and_then(|given| given.strip_prefix(b"Bearer ")) else { return false };
    let differs = given.iter().zip(token.as_bytes()).fold(0, |all, (a, b)| all | (a ^ b));
    given.len() == token.len() && differs == 0
}

#[cfg(test)]
mod tests;
