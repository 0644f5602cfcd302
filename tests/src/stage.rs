//! Progress for the person who waits: each stage with its time, on stderr.

use std::time::Instant;

/// A stage that has begun; say [`Stage::done`] when it is over.
#[must_use = "a stage that is dropped at once takes no time"]
#[derive(Debug)]
pub struct Stage {
    title: String,
    began: Instant,
}

impl Stage {
    /// Announces a stage that may take a while.
    pub fn begin(title: impl Into<String>) -> Self {
        let title = title.into();
        eprintln!("  ...      {title}");
        Self { title, began: Instant::now() }
    }

    /// Starts the clock of a stage that is too short to be announced.
    pub fn quiet(title: impl Into<String>) -> Self {
        Self { title: title.into(), began: Instant::now() }
    }

    /// Prints how long the stage took.
    pub fn done(self) {
        eprintln!("  {:6.1} s {}", self.began.elapsed().as_secs_f64(), self.title);
    }
}
