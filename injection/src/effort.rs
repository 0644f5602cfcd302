//! How much work one review may cost, counted and not timed: the same question has the same answer on a busy machine.
//!
//! Whoever may write policies in a namespace could otherwise write so many, and such intricate ones, that a single Pod there
//! holds up the reviews of all others.

/// The most steps of one review, about half a second: more than ten thousand policies take that all concern a Pod with a
/// hundred keys.
pub const MOST_STEPS: usize = 50_000_000;

/// The steps that are left to a review. One takes some nanoseconds.
#[derive(Debug)]
pub struct Effort {
    left: usize,
}

/// No steps are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted;

impl Effort {
    /// That of a review that may take this many steps.
    #[must_use]
    pub const fn of(steps: usize) -> Self {
        Self { left: steps }
    }

    /// How many steps are left.
    #[cfg(test)]
    pub(crate) const fn left(&self) -> usize {
        self.left
    }

    /// Takes `steps` away.
    ///
    /// # Errors
    ///
    /// There were fewer left. From then on there are none.
    pub fn spend(&mut self, steps: usize) -> Result<(), Exhausted> {
        let left = self.left.checked_sub(steps);
        self.left = left.unwrap_or_default();
        left.map(drop).ok_or(Exhausted)
    }
}
