//! Bodies within limits: of one, of all together, and of time.
//!
//! What a body takes once it is read as a document counts as well: a number of one byte becomes dozens.

use std::ops::Deref;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use http_body_util::BodyExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use contents::Contents;

mod contents;

/// The memory that all bodies share, in bytes.
///
/// What counts is what has arrived and not what was announced: a client that sends slowly holds little.
#[derive(Debug)]
pub(super) struct Memory(Semaphore);

/// A whole body, and the memory that it and its document take.
#[derive(Debug)]
pub(super) struct Held<'a> {
    bytes: Vec<u8>,
    share: Option<SemaphorePermit<'a>>,
}

impl Deref for Held<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Why a body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    /// It is longer than allowed.
    #[error("the body is longer than {} bytes", super::LONGEST_BODY)]
    TooLong,
    /// Its document has more parts than allowed.
    #[error("the body holds more than {} values", super::MOST_VALUES)]
    TooManyValues,
    /// It did not arrive in time.
    #[error("the body did not arrive within {} seconds", super::BODY_TIMEOUT.as_secs())]
    TooSlow,
    /// The connection ended first.
    #[error("the body ended before it was complete")]
    Broken,
    /// Other bodies take all the memory.
    #[error("too many large reviews at once: send this one again in a second")]
    NoMemory,
}

impl Memory {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Semaphore::new(bytes))
    }

    /// Reads a body of at most `longest` bytes.
    ///
    /// A longer one is read on and forgotten: a client that sends without listening would otherwise see a broken
    /// connection instead of the answer.
    pub(super) async fn read(&self, body: Body, longest: usize, limit: Duration) -> Result<Held<'_>, BodyError> {
        timeout(limit, self.read_all(body, longest)).await.unwrap_or(Err(BodyError::TooSlow))
    }

    async fn read_all(&self, mut body: Body, longest: usize) -> Result<Held<'_>, BodyError> {
        let announced = body.size_hint().upper().map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let mut held = Held { bytes: Vec::new(), share: None };
        if announced > longest {
            drain(body).await;
            return Err(BodyError::TooLong);
        }
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_broken| BodyError::Broken)?.into_data() else { continue };
            if let Err(error) = self.keep(&mut held, &data, longest) {
                drop(held);
                drain(body).await;
                return Err(error);
            }
        }
        self.make_room(&mut held)?;
        Ok(held)
    }

    /// Counts what the document will take, before anybody makes one of the body.
    fn make_room<'a>(&'a self, held: &mut Held<'a>) -> Result<(), BodyError> {
        let contents = Contents::of(&held.bytes);
        if contents.values > super::MOST_VALUES {
            return Err(BodyError::TooManyValues);
        }
        self.share(held, contents.memory())
    }

    fn share<'a>(&'a self, held: &mut Held<'a>, bytes: usize) -> Result<(), BodyError> {
        let bytes = u32::try_from(bytes).map_err(|_longer_than_any_limit| BodyError::TooLong)?;
        let permit = self.0.try_acquire_many(bytes).map_err(|_none_left| BodyError::NoMemory)?;
        match &mut held.share {
            Some(share) => share.merge(permit),
            none => *none = Some(permit),
        }
        Ok(())
    }

    fn keep<'a>(&'a self, held: &mut Held<'a>, data: &[u8], longest: usize) -> Result<(), BodyError> {
        if held.bytes.len().saturating_add(data.len()) > longest {
            return Err(BodyError::TooLong);
        }
        self.share(held, data.len())?;
        held.bytes.extend_from_slice(data);
        Ok(())
    }
}

/// Reads a body to its end and forgets it, for as long as `limit`.
pub(super) async fn discard(body: Body, limit: Duration) {
    // Whether it ended does not matter: the answer is the same.
    let _ended = timeout(limit, drain(body)).await;
}

async fn drain(mut body: Body) {
    while let Some(Ok(_)) = body.frame().await {}
}
