//! Reading and changing the lists of a Pod's document, whatever stands in it.

use serde_json::{Map, Value};

/// The lists of containers, in the order in which Kubernetes starts them.
pub(crate) const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// The items of the list `field`; an absent list and `null` have none.
pub(crate) fn items<'a>(parent: &'a Value, field: &str) -> &'a [Value] {
    parent.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The items of the list `field`, to be changed in place.
pub(crate) fn items_mut<'a>(parent: &'a mut Value, field: &str) -> &'a mut [Value] {
    parent.get_mut(field).and_then(Value::as_array_mut).map_or(&mut [], Vec::as_mut_slice)
}

/// The text at `field`, empty where there is none.
pub(crate) fn text<'a>(parent: &'a Value, field: &str) -> &'a str {
    parent.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Whether `field` says `true`.
pub(crate) fn says(parent: &Value, field: &str) -> bool {
    parent.get(field).and_then(Value::as_bool).unwrap_or_default()
}

/// What stands at `path`, `null` where nothing does.
pub(crate) fn at<'a>(document: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().try_fold(document, |value, field| value.get(field)).unwrap_or(&Value::Null)
}

/// Sets `field`, keeping its place among the others if it is there.
pub(crate) fn set(parent: &mut Value, field: &str, value: Value) {
    if let Value::Object(fields) = parent {
        fields.insert(field.to_owned(), value);
    }
}

/// Removes `field` and keeps the order of the others.
pub(crate) fn unset(parent: &mut Value, field: &str) {
    if let Value::Object(fields) = parent {
        fields.remove(field);
    }
}

/// What stands at `field`, an object made for it where there is none.
pub(crate) fn at_or_made<'a>(parent: &'a mut Value, field: &str) -> Option<&'a mut Value> {
    let value = parent.as_object_mut()?.entry(field).or_insert(Value::Null);
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    Some(value)
}

/// The fields of the object at `field`, made where there is none.
pub(crate) fn object_mut<'a>(parent: &'a mut Value, field: &str) -> Option<&'a mut Map<String, Value>> {
    at_or_made(parent, field)?.as_object_mut()
}
