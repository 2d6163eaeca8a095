use std::io::{Read, Write};
use std::net::TcpStream;

use glommio::LocalExecutor;

use super::*;

struct Fake {
    ready: bool,
}

impl Shown for Fake {
    fn health(&self) -> Result<(), String> {
        Ok(())
    }

    fn readiness(&self) -> Result<(), String> {
        if self.ready { Ok(()) } else { Err("shard 0 is recovering".to_owned()) }
    }

    async fn metrics(&self) -> String {
        "chiplog_up 1\n".to_owned()
    }

    fn faults(&self) -> String {
        "[]\n".to_owned()
    }

    fn change_faults(&self, clear: bool, body: &[u8]) -> Result<String, Refused> {
        let body = String::from_utf8_lossy(body);
        match &*body {
            "" => Err(Refused::Bad("nothing was said".to_owned())),
            "off" => Err(Refused::Forbidden("not here".to_owned())),
            body => Ok(format!("{clear} {body}\n")),
        }
    }
}

/// Serves `fake` while `ask` talks to it from another thread.
fn with_server<T: Send + 'static>(
    fake: Fake,
    token: Option<&str>,
    ask: impl FnOnce(SocketAddr) -> T + Send + 'static,
) -> T {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("bound");
    drop(free);
    let token = token.map(str::to_owned);
    LocalExecutor::default().run(async move {
        let _task = serve(address, token, Rc::new(fake)).expect("the port is free");
        glommio::executor().spawn_blocking(move || ask(address)).await
    })
}

fn request(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    stream.write_all(request.as_bytes()).expect("the server reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the server answers and closes");
    answer
}

fn get(address: SocketAddr, path: &str, header: &str) -> String {
    request(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n"),
    )
}

#[test]
fn each_page_says_what_it_should() {
    with_server(Fake { ready: false }, None, |address| {
        assert!(get(address, "/healthz", "").starts_with("HTTP/1.1 200 OK"));
        let not_ready = get(address, "/readyz", "");
        assert!(not_ready.starts_with("HTTP/1.1 503"), "{not_ready}");
        assert!(not_ready.ends_with("shard 0 is recovering\n"), "{not_ready}");
        assert!(get(address, "/metrics", "").ends_with("\r\n\r\nchiplog_up 1\n"));
        assert!(get(address, "/", "").starts_with("HTTP/1.1 404"));
    });
    let ready = with_server(Fake { ready: true }, None, |address| get(address, "/readyz", ""));
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
}

#[test]
fn nothing_but_get_is_served() {
    with_server(Fake { ready: true }, None, |address| {
        for method in ["POST", "DELETE", "PUT"] {
            let head = "HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0";
            let answer = request(address, &format!("{method} /metrics {head}\r\n\r\n"));
            assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
        }
    });
}

fn post(address: SocketAddr, path: &str, kind: &str, body: &str) -> String {
    let head = format!("Host: x\r\nConnection: close\r\nContent-Type: {kind}");
    let length = body.len();
    request(
        address,
        &format!("POST {path} HTTP/1.1\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}"),
    )
}

#[test]
fn faults_are_changed_by_post_alone() {
    with_server(Fake { ready: true }, None, |address| {
        let json = "application/json";
        assert!(post(address, "/faults", json, "slow").ends_with("\r\n\r\nfalse slow\n"));
        assert!(post(address, "/faults/clear", json, "3").ends_with("\r\n\r\ntrue 3\n"));
        assert!(post(address, "/faults", json, "off").starts_with("HTTP/1.1 403"));
        assert!(post(address, "/faults", json, "").starts_with("HTTP/1.1 400"));
        assert!(post(address, "/faults", "text/plain", "slow").starts_with("HTTP/1.1 415"));
        let long = "x".repeat(5_000);
        assert!(post(address, "/faults", json, &long).starts_with("HTTP/1.1 413"));
        assert!(get(address, "/faults", "").ends_with("\r\n\r\n[]\n"));
    });
    let denied = with_server(Fake { ready: true }, Some("0123456789abcdef"), |address| {
        post(address, "/faults", "application/json", "slow")
    });
    assert!(denied.starts_with("HTTP/1.1 401"), "{denied}");
}

#[test]
fn a_token_is_required_where_one_is_set() {
    with_server(Fake { ready: true }, Some("0123456789abcdef"), |address| {
        let wrong =
            ["", "Authorization: Bearer 0123456789abcdeX\r\n", "Authorization: Bearer 0\r\n"];
        for header in wrong {
            assert!(get(address, "/metrics", header).starts_with("HTTP/1.1 401"), "{header}");
        }
        let right = "Authorization: Bearer 0123456789abcdef\r\n";
        assert!(get(address, "/metrics", right).starts_with("HTTP/1.1 200"));
    });
}

#[test]
fn a_connection_that_says_nothing_does_not_hinder_others() {
    with_server(Fake { ready: true }, None, |address| {
        let idle: Vec<_> = (0..8).map(|_| TcpStream::connect(address).expect("accepted")).collect();
        assert!(get(address, "/healthz", "").starts_with("HTTP/1.1 200 OK"));
        assert!(request(address, "\u{1}\u{2} nonsense\r\n\r\n").starts_with("HTTP/1.1 400"));
        drop(idle);
    });
}
