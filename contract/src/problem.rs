//! A problem in something that a person wrote: where, what, why, and what to do.

use std::fmt;

/// One thing that is wrong with what a person wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands, as a field path: `metadata.annotations[alcove.dev/inject]`.
    pub place: String,
    /// The value as written, where showing it helps.
    pub value: Option<String>,
    /// Why it cannot be accepted, as a fragment that fits after the value.
    pub reason: String,
    /// What to write or do instead.
    pub remedy: Option<String>,
}

impl Problem {
    /// A problem at `place`, for `reason`.
    #[must_use]
    pub fn new(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { place: place.into(), value: None, reason: reason.into(), remedy: None }
    }

    /// The same problem, showing the value as it was written.
    #[must_use]
    pub fn with_value(mut self, value: impl Into<String>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// The same problem, saying what helps.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The same problem, seen from the outside: its place is below `outer`.
    #[must_use]
    pub fn below(mut self, outer: &str) -> Self {
        self.place = match self.place.as_str() {
            "" => outer.to_owned(),
            inner if inner.starts_with('[') => format!("{outer}{inner}"),
            inner => format!("{outer}.{inner}"),
        };
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.place)?;
        if let Some(value) = &self.value {
            write!(formatter, "\"{}\" ", value.escape_debug())?;
        }
        formatter.write_str(&self.reason)?;
        match &self.remedy {
            Some(remedy) => write!(formatter, "; {remedy}"),
            None => Ok(()),
        }
    }
}

/// Every problem of one input, in the order of the input.
///
/// A parser that returns this has looked at the whole input: nobody has to fix one mistake to be told of the next. Only
/// the first [`Problems::MOST`] are kept and the rest are counted, so that no input makes its answer grow without end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    kept: Vec<Problem>,
    /// How many more there are.
    more: usize,
}

impl Problems {
    /// The most problems that are kept: more than anybody reads.
    pub const MOST: usize = 200;

    /// No problem so far.
    #[must_use]
    pub const fn none() -> Self {
        Self { kept: Vec::new(), more: 0 }
    }

    /// Adds one problem.
    pub fn push(&mut self, problem: Problem) {
        if self.kept.len() < Self::MOST {
            self.kept.push(problem);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    /// Adds all of `others`, those that were only counted among them.
    pub fn append(&mut self, others: Self) {
        self.extend(others.kept);
        self.more = self.more.saturating_add(others.more);
    }

    /// Takes the value of `result`, or notes its problems and gives nothing.
    pub fn collect<T>(&mut self, result: Result<T, impl Into<Self>>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(problems) => {
                self.append(problems.into());
                None
            }
        }
    }

    /// The same problems, each as `change` makes it.
    #[must_use]
    pub fn map(self, change: impl FnMut(Problem) -> Problem) -> Self {
        Self { kept: self.kept.into_iter().map(change).collect(), more: self.more }
    }

    /// The same problems, seen from the outside: every place is below `outer`.
    #[must_use]
    pub fn below(self, outer: &str) -> Self {
        self.map(|problem| problem.below(outer))
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// How many there are, those that were only counted among them.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.kept.len().saturating_add(self.more)
    }

    /// The problems that were kept, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.kept.iter()
    }

    /// `value` if nothing is wrong.
    ///
    /// # Errors
    ///
    /// The problems, if there is one.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self { kept: vec![problem], more: 0 }
    }
}

impl FromIterator<Problem> for Problems {
    fn from_iter<I: IntoIterator<Item = Problem>>(problems: I) -> Self {
        let mut collected = Self::none();
        collected.extend(problems);
        collected
    }
}

impl Extend<Problem> for Problems {
    fn extend<I: IntoIterator<Item = Problem>>(&mut self, problems: I) {
        problems.into_iter().for_each(|problem| self.push(problem));
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.kept.into_iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.kept.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            write!(formatter, "{problem}")?;
        }
        match self.more {
            0 => Ok(()),
            1 => formatter.write_str("\nand 1 more problem"),
            more => write!(formatter, "\nand {more} more problems"),
        }
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbered(count: usize) -> Vec<Problem> {
        (0..count).map(|number| Problem::new(number.to_string(), "is wrong")).collect()
    }

    /// Every way to bring problems together.
    const WAYS: [fn(&mut Problems, Vec<Problem>); 5] = [
        |problems, more| more.into_iter().for_each(|problem| problems.push(problem)),
        |problems, more| problems.extend(more),
        |problems, more| problems.append(more.into_iter().collect()),
        |problems, more| assert_eq!(problems.collect(Problems::from_iter(more).or(())), None),
        |problems, more| problems.append(Problems::from_iter(more).map(|problem| problem)),
    ];

    #[test]
    fn what_is_too_much_to_read_is_counted() {
        let all: Problems = numbered(Problems::MOST + 2).into_iter().collect();
        let text = all.to_string();
        assert!(text.ends_with("\n199: is wrong\nand 2 more problems"), "{text}");
        let one: Problems = numbered(Problems::MOST + 1).into_iter().collect();
        assert!(one.to_string().ends_with("\nand 1 more problem"));
        let none: Problems = numbered(Problems::MOST).into_iter().collect();
        assert!(none.to_string().ends_with("\n199: is wrong"));
    }

    proptest! {
        #[test]
        fn the_first_are_kept_and_all_are_counted_however_they_come_together(
            parts in prop::collection::vec((1_usize..150, 0..WAYS.len()), 0..6),
        ) {
            let total: usize = parts.iter().map(|(count, _)| count).sum();
            let mut all = numbered(total).into_iter();
            let mut problems = Problems::none();
            for (count, way) in parts {
                WAYS[way](&mut problems, all.by_ref().take(count).collect());
            }
            prop_assert_eq!(problems.total(), total);
            prop_assert_eq!(problems.is_empty(), total == 0);
            let kept = problems.below("outer");
            prop_assert_eq!(kept.total(), total);
            let places: Vec<_> = kept.into_iter().map(|problem| problem.place).collect();
            let expected: Vec<_> = (0..total.min(Problems::MOST)).map(|number| format!("outer.{number}")).collect();
            prop_assert_eq!(places, expected);
        }
    }
}
