//! A server's admin port, asked and told over HTTP.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::failure::Failure;

/// How long the server may take over one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// See the module's description.
#[derive(Debug)]
pub(super) struct AdminPort {
    address: String,
    token: Option<String>,
}

impl AdminPort {
    pub(super) fn of(address: &str, token_file: Option<&Path>) -> Result<Self, Failure> {
        let read = |path: &Path| {
            let text = std::fs::read_to_string(path);
            text.map_err(|source| Failure::Input { path: path.to_owned(), source })
        };
        let token = token_file.map(read).transpose()?.map(|text| text.trim().to_owned());
        Ok(Self { address: address.to_owned(), token })
    }

    pub(super) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.ask("GET", path, "")
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.ask("POST", path, &body.to_string())
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Result<Value, Failure> {
        let failed = |source| Failure::AdminPort { address: self.address.clone(), source };
        let answer = self.exchange(method, path, body).map_err(failed)?;
        let malformed = || failed(io::Error::other("it does not speak HTTP"));
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(malformed)?;
        let status = head.split(' ').nth(1).ok_or_else(malformed)?;
        if status != "200" {
            return Err(Failure::AdminRefused { why: body.trim().to_owned() });
        }
        serde_json::from_str(body).map_err(|_| malformed())
    }

    fn exchange(&self, method: &str, path: &str, body: &str) -> io::Result<String> {
        let Self { address, token } = self;
        let mut addresses = address.to_socket_addrs()?;
        let first = addresses.next().ok_or_else(|| io::Error::other("no such host"))?;
        let mut stream = TcpStream::connect_timeout(&first, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let bearer = token.as_ref().map(|token| format!("Authorization: Bearer {token}\r\n"));
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            bearer.unwrap_or_default(),
            body.len()
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}
