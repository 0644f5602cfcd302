//! How much memory a JSON text takes as a document, found out without making one.

use std::slice::Iter;

/// What a value takes, in a list that grows by doubling.
const VALUE: usize = 96;
/// What an object takes besides the values in it: its node has room for eleven fields, however few there are.
const OBJECT: usize = 512;

/// What a JSON text consists of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// The names of fields and the values, those in values included; never too few.
    pub(super) values: usize,
    objects: usize,
}

impl Contents {
    /// Counts by what stands before each part, outside of strings. Of a text that is no JSON, the part is counted that a
    /// parser would read before it gives up.
    pub(super) fn of(text: &[u8]) -> Self {
        let mut contents = Self::default();
        let mut bytes = text.iter();
        while let Some(byte) = bytes.next() {
            match byte {
                b'"' => skip_string(&mut bytes),
                b'{' => {
                    contents.objects = contents.objects.saturating_add(1);
                    contents.values = contents.values.saturating_add(1);
                }
                b'[' | b',' | b':' => contents.values = contents.values.saturating_add(1),
                _ => {}
            }
        }
        contents
    }

    /// An estimate of the bytes that the document takes.
    pub(super) const fn memory(self) -> usize {
        self.values.saturating_mul(VALUE).saturating_add(self.objects.saturating_mul(OBJECT))
    }
}

fn skip_string(bytes: &mut Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => _ = bytes.next(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// All names of fields and all values but the outermost; what is empty counts as if it held one.
    fn parts(value: &Value) -> usize {
        match value {
            Value::Array(items) => items.len().max(1) + items.iter().map(parts).sum::<usize>(),
            Value::Object(fields) => fields.len().max(1) + fields.len() + fields.values().map(parts).sum::<usize>(),
            _ => 0,
        }
    }

    fn documents() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<i64>().prop_map(Value::from), "[\\[\\]{},:\"\\\\a]{0,8}".prop_map(Value::from)];
        leaf.prop_recursive(4, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map("[,:\"\\\\a]{0,4}", inner, 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    #[test]
    fn what_stands_in_a_string_is_no_value() {
        let text = json!({"annotation": "[{\\\",:,:,:,:,:,:"}).to_string();
        assert_eq!(Contents::of(text.as_bytes()), Contents { values: 2, objects: 1 });
    }

    proptest! {
        #[test]
        fn every_part_counts_and_nothing_else_does(document in documents()) {
            prop_assert_eq!(Contents::of(document.to_string().as_bytes()).values, parts(&document));
        }
    }
}
