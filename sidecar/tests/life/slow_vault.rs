//! A Vault that takes its time with a login, which no real one can be brought to do.

use crate::vault::Vault;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

/// What it answers to a login.
const LOGIN: &str = r#"{"auth":{"client_token":"hvs.made-late","lease_duration":3600,"renewable":true}}"#;

/// The server. It ends with the test's process.
pub(crate) struct SlowVault {
    port: u16,
    lines: Arc<Mutex<Vec<String>>>,
    answer: Sender<()>,
}

impl SlowVault {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (answer, may_answer) = channel();
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let received = Arc::clone(&lines);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &received, &may_answer);
            }
        });
        Self { port, lines, answer }
    }

    pub(crate) const fn address(&self) -> Vault {
        Vault::at(self.port)
    }

    /// Whether a request with this method and path has come.
    pub(crate) fn saw(&self, line: &str) -> bool {
        self.lines.lock().unwrap().iter().any(|known| known == line)
    }

    pub(crate) fn answer_the_login(&self) {
        self.answer.send(()).unwrap();
    }
}

/// Answers one request: a login when the test says so, everything else at once.
fn serve(stream: TcpStream, received: &Mutex<Vec<String>>, may_answer: &Receiver<()>) {
    let mut reader = BufReader::new(stream);
    let line = read_request(&mut reader);
    let is_login = line.ends_with("/login");
    received.lock().unwrap().push(line);
    if is_login {
        may_answer.recv().unwrap();
    }
    let body = if is_login { LOGIN } else { "{}" };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    // Whoever asked may have gone, which is for the test to judge.
    reader.into_inner().write_all((head + body).as_bytes()).unwrap_or_default();
}

/// Reads a whole request; its method and path.
fn read_request(reader: &mut BufReader<TcpStream>) -> String {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let length = head.iter().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    reader.read_exact(&mut vec![0; length.unwrap_or(0)]).unwrap();
    head[0].rsplit_once(' ').unwrap().0.to_owned()
}
