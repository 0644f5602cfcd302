//! A Vault whose secrets are as large as an answer may be, which would take a real one many requests to fill.

use crate::vault::Vault;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How large each answer is, in bytes.
const ANSWER: usize = 3_900_000;
/// How much is written at a time.
const PIECE: usize = 64 * 1024;

/// The server. It ends with the test's process.
pub(crate) struct LargeVault {
    port: u16,
    answers: Arc<AtomicUsize>,
}

impl LargeVault {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers = Arc::<AtomicUsize>::default();
        let answered = Arc::clone(&answers);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let answered = Arc::clone(&answered);
                // Whoever asked may have gone, which is for the test to judge.
                std::thread::spawn(move || serve(&stream.unwrap(), &answered).unwrap_or_default());
            }
        });
        Self { port, answers }
    }

    pub(crate) const fn address(&self) -> Vault {
        Vault::at(self.port)
    }

    /// How many answers it has sent.
    pub(crate) fn answers(&self) -> usize {
        self.answers.load(Ordering::SeqCst)
    }
}

/// Answers every request of a connection: a short property, and a long one that nobody wants.
fn serve(stream: &TcpStream, answered: &AtomicUsize) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
        }
        // Like the real one it does not say how long the answer will be.
        let mut answer = stream;
        answer.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        let mut chunk = |text: &str| write!(answer, "{:x}\r\n{text}\r\n", text.len());
        chunk(r#"{"data":{"data":{"password":"p","unwanted":""#)?;
        let piece = "x".repeat(PIECE);
        for _ in 0..ANSWER / PIECE {
            chunk(&piece)?;
        }
        chunk(r#""},"metadata":{"version":1}}}"#)?;
        answer.write_all(b"0\r\n\r\n")?;
        answered.fetch_add(1, Ordering::SeqCst);
    }
}
