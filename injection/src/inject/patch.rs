//! The patch: the smallest list of operations that turns one document into another.
//!
//! The intended Pod is built first and compared then, so that no operation ever rests on a remembered index or on a
//! parent that is not there.

use json_patch::jsonptr::{PointerBuf, Token};
use json_patch::{AddOperation, MoveOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::iter::zip;

/// The most comparisons that finding moved items of a list may take.
const MOST_COMPARISONS: usize = 1 << 16;

/// The operations that turn `old` into `new`, in an order that depends on nothing but the two documents.
///
/// Items of a list are told apart by what Kubernetes tells them apart by, their name or mount path: an item that is put
/// in front of others is one `add`, and its neighbours are not rewritten. The work is linear in the size of the
/// documents.
pub(crate) fn difference(old: &Value, new: &Value) -> Patch {
    let mut comparison = Comparison { steps: Vec::new(), operations: Vec::new() };
    comparison.value(old, new);
    Patch(comparison.operations)
}

/// Where the comparison is: a pointer is only written for an operation, and most values are the same on both sides.
struct Comparison<'a> {
    steps: Vec<Step<'a>>,
    operations: Vec<PatchOperation>,
}

/// From a value to a part of it.
#[derive(Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> From<Step<'a>> for Token<'a> {
    fn from(step: Step<'a>) -> Self {
        match step {
            Step::Key(key) => key.into(),
            Step::Index(index) => index.into(),
        }
    }
}

impl<'a> Comparison<'a> {
    fn value(&mut self, old: &'a Value, new: &'a Value) {
        match (old, new) {
            (Value::Object(old), Value::Object(new)) => self.object(old, new),
            (Value::Array(old), Value::Array(new)) => self.list(old, new),
            _ if old == new => {}
            _ => self.replace(new),
        }
    }

    fn object(&mut self, old: &'a Map<String, Value>, new: &'a Map<String, Value>) {
        if old.keys().eq(new.keys()) {
            // Most objects have the fields that they had, and looking each up would cost more than comparing it.
            for ((key, before), after) in zip(old, new.values()) {
                self.below(Step::Key(key), |inner| inner.value(before, after));
            }
            return;
        }
        for key in old.keys().filter(|key| !new.contains_key(*key)) {
            self.below(Step::Key(key), Self::remove);
        }
        for (key, value) in new {
            self.below(Step::Key(key), |inner| match old.get(key) {
                Some(before) => inner.value(before, value),
                None => inner.add(value),
            });
        }
    }

    /// Pairs what the lists have in common at their beginning and at their end; what lies between is put right item by
    /// item.
    fn list(&mut self, old: &'a [Value], new: &'a [Value]) {
        let shorter = old.len().min(new.len());
        let head = zip(old, new).take_while(|(before, after)| same_item(before, after)).count();
        let tail = zip(old.iter().rev(), new.iter().rev())
            .take(shorter - head)
            .take_while(|(before, after)| same_item(before, after))
            .count();
        for (index, (before, after)) in zip(old, new).take(head).enumerate() {
            self.below(Step::Index(index), |inner| inner.value(before, after));
        }
        let between = |list: &'_ [Value]| head..list.len() - tail;
        self.rearrange(head, old.get(between(old)).unwrap_or_default(), new.get(between(new)).unwrap_or_default());
        let tails = zip(old.iter().skip(old.len() - tail), new.iter().enumerate().skip(new.len() - tail));
        for (before, (index, after)) in tails {
            self.below(Step::Index(index), |inner| inner.value(before, after));
        }
    }

    /// Turns `old` into `new`, which stand in their list from `start` on: removes what is gone, then brings each item of
    /// the new list to its place.
    fn rearrange(&mut self, start: usize, old: &'a [Value], new: &'a [Value]) {
        if let Some(gone) = missing(old, new) {
            return self.remove_some(start, (old, &gone), new);
        }
        if let Some(come) = missing(new, old) {
            return self.add_some(start, old, (new, &come));
        }
        if old.len().saturating_mul(new.len()) > MOST_COMPARISONS {
            return self.replace_all(start, old, new);
        }
        let is_kept = |item: &&Value| new.iter().any(|other| same_item(item, other));
        for (index, _) in old.iter().enumerate().rev().filter(|(_, item)| !is_kept(item)) {
            self.below(Step::Index(start + index), Self::remove);
        }
        let mut present: Vec<&Value> = old.iter().filter(is_kept).collect();
        for (index, after) in new.iter().enumerate() {
            if let Some(distance) = present.iter().skip(index).position(|before| same_item(before, after)) {
                let before = present.remove(index + distance);
                present.insert(index, before);
                if distance > 0 {
                    self.shift(start + index + distance, start + index);
                }
                self.below(Step::Index(start + index), |inner| inner.value(before, after));
            } else {
                present.insert(index, after);
                self.below(Step::Index(start + index), |inner| inner.add(after));
            }
        }
        // Items that stood there more often than they should.
        for index in (new.len()..present.len()).rev() {
            self.below(Step::Index(start + index), Self::remove);
        }
    }

    fn remove_some(&mut self, start: usize, (old, gone): (&'a [Value], &BTreeSet<usize>), new: &'a [Value]) {
        for index in gone.iter().rev() {
            self.below(Step::Index(start + index), Self::remove);
        }
        let kept = old.iter().enumerate().filter(|(index, _)| !gone.contains(index)).map(|(_, item)| item);
        for (index, (before, after)) in zip(kept, new).enumerate() {
            self.below(Step::Index(start + index), |inner| inner.value(before, after));
        }
    }

    fn add_some(&mut self, start: usize, old: &'a [Value], (new, come): (&'a [Value], &BTreeSet<usize>)) {
        let mut old = old.iter();
        for (index, after) in new.iter().enumerate() {
            let before = if come.contains(&index) { None } else { old.next() };
            self.below(Step::Index(start + index), |inner| match before {
                Some(before) => inner.value(before, after),
                None => inner.add(after),
            });
        }
    }

    fn replace_all(&mut self, start: usize, old: &'a [Value], new: &'a [Value]) {
        for index in (0..old.len()).rev() {
            self.below(Step::Index(start + index), Self::remove);
        }
        for (index, after) in new.iter().enumerate() {
            self.below(Step::Index(start + index), |inner| inner.add(after));
        }
    }

    fn shift(&mut self, from: usize, to: usize) {
        let list = self.pointer();
        let operation = MoveOperation { from: list.with_trailing_token(from), path: list.with_trailing_token(to) };
        self.operations.push(PatchOperation::Move(operation));
    }

    fn below(&mut self, step: Step<'a>, visit: impl FnOnce(&mut Self)) {
        self.steps.push(step);
        visit(self);
        self.steps.pop();
    }

    fn pointer(&self) -> PointerBuf {
        PointerBuf::from_tokens(self.steps.iter().copied())
    }

    fn add(&mut self, value: &Value) {
        let operation = AddOperation { path: self.pointer(), value: value.clone() };
        self.operations.push(PatchOperation::Add(operation));
    }

    fn remove(&mut self) {
        self.operations.push(PatchOperation::Remove(RemoveOperation { path: self.pointer() }));
    }

    fn replace(&mut self, value: &Value) {
        let operation = ReplaceOperation { path: self.pointer(), value: value.clone() };
        self.operations.push(PatchOperation::Replace(operation));
    }
}

/// The indexes of the items of `longer` that `shorter` lacks, if the others stand in both in the same order.
fn missing(longer: &[Value], shorter: &[Value]) -> Option<BTreeSet<usize>> {
    let mut expected = shorter.iter().peekable();
    let mut is_missing = |item: &Value| expected.next_if(|next| same_item(next, item)).is_none();
    let gone = longer.iter().enumerate().filter(|(_, item)| is_missing(item)).map(|(index, _)| index).collect();
    expected.next().is_none().then_some(gone)
}

/// Whether two items of a list are the same thing, changed or not.
fn same_item(old: &Value, new: &Value) -> bool {
    let identity = |field: &str| Some((old.get(field)?, new.get(field)?));
    match identity("mountPath").or_else(|| identity("name")) {
        Some((before, after)) => before == after,
        None => old == new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn patched(old: &Value, new: &Value) -> Value {
        let mut document = old.clone();
        json_patch::patch(&mut document, &difference(old, new)).unwrap_or_else(|error| panic!("{error}"));
        document
    }

    fn text(old: &Value, new: &Value) -> String {
        serde_json::to_string(&difference(old, new)).unwrap()
    }

    #[test]
    fn an_item_put_in_front_is_one_operation() {
        let old = json!({"c": [{"name": "a", "x": 1}, {"name": "b"}]});
        let new = json!({"c": [{"name": "n"}, {"name": "a", "x": 2}, {"name": "b"}]});
        assert_eq!(
            text(&old, &new),
            r#"[{"op":"add","path":"/c/0","value":{"name":"n"}},{"op":"replace","path":"/c/1/x","value":2}]"#
        );
    }

    #[test]
    fn an_item_that_has_moved_is_moved() {
        let old = json!([{"name": "x", "a": 1}, {"name": "y"}, {"name": "z", "a": 1}]);
        let new = json!([{"name": "z", "a": 2}, {"name": "x", "a": 1}, {"name": "n"}]);
        assert_eq!(
            text(&old, &new),
            r#"[{"op":"remove","path":"/1"},{"op":"move","from":"/1","path":"/0"},{"op":"replace","path":"/0/a","value":2},{"op":"add","path":"/2","value":{"name":"n"}}]"#
        );
    }

    #[test]
    fn many_items_of_a_long_list_are_removed_or_added_without_comparing_all_with_all() {
        let all: Vec<Value> = (0..20_000).map(|number| json!({"name": number.to_string()})).collect();
        let odd: Vec<Value> = all.iter().skip(1).step_by(2).cloned().collect();
        let (all, odd) = (Value::from(all), Value::from(odd));
        assert_eq!(difference(&all, &odd).len(), 10_000);
        assert_eq!(difference(&odd, &all).len(), 10_000);
        assert_eq!(patched(&all, &odd), odd);
        let reversed: Value = all.as_array().unwrap().iter().rev().cloned().collect();
        assert_eq!(difference(&all, &reversed).len(), 40_000);
    }

    #[test]
    fn a_missing_parent_is_added_whole_and_a_null_is_replaced() {
        let new = json!({"a": {"b": [1]}, "c": [2]});
        assert_eq!(
            text(&json!({"c": null}), &new),
            r#"[{"op":"add","path":"/a","value":{"b":[1]}},{"op":"replace","path":"/c","value":[2]}]"#
        );
    }

    #[test]
    fn slashes_and_tildes_in_keys_are_escaped() {
        let (old, new) = (json!({}), json!({"alcove.dev/a~b": 1}));
        assert_eq!(text(&old, &new), r#"[{"op":"add","path":"/alcove.dev~1a~0b","value":1}]"#);
    }

    fn documents() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), (0..3).prop_map(Value::from)];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let key = prop_oneof![Just("name"), Just("mountPath"), Just("a/b"), Just("~"), Just("")];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((key, inner), 0..4).prop_map(|pairs| {
                    Value::Object(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_patch_turns_the_one_document_into_the_other(old in documents(), new in documents()) {
            prop_assert_eq!(patched(&old, &new), new);
        }

        #[test]
        fn equal_documents_need_no_operation(document in documents()) {
            prop_assert!(difference(&document, &document).is_empty());
        }
    }
}
