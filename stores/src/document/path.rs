//! The ways in which a property can be read.
//!
//! A dot may separate two names or stand in one, so `a.b.c` names up to four places. All are looked for: nothing depends
//! on which a parser would meet first.

use super::json::{Members, Value};

/// The deepest place that is looked at: what nests deeper is no secret but an attack on the stack.
const DEEPEST: usize = 64;

/// One place that a property can mean.
pub(super) struct Reading<'a> {
    /// The JSON pointer that means this place alone.
    pub(super) pointer: String,
    /// What stands there.
    pub(super) value: Value<'a>,
}

/// Every place that `property` can mean: the literal name alone if it exists, else nested paths, else a JSON pointer.
pub(super) fn readings<'a>(members: &Members<'a>, property: &str) -> Vec<Reading<'a>> {
    if let Some(value) = members.get(property) {
        return vec![Reading { pointer: step("", property), value }];
    }
    let mut found = Vec::new();
    below_object(members, property, "", &mut found);
    if found.is_empty() {
        found.extend(at_pointer(members, property));
    }
    found
}

/// The name that a property means where values have no structure: that of a pointer with one step.
pub(super) fn single_name(property: &str) -> Option<String> {
    let name = property.strip_prefix('/')?;
    if name.contains('/') { None } else { Some(decoded(name)) }
}

fn below_object<'a>(members: &Members<'a>, path: &str, pointer: &str, found: &mut Vec<Reading<'a>>) {
    for (name, value) in members.iter() {
        if let Some(rest) = path.strip_prefix(name) {
            at_value(value, rest, step(pointer, name), found);
        }
    }
}

/// Goes on with what follows a name or an index: nothing, a dot and a name, or an index in brackets.
fn at_value<'a>(value: Value<'a>, rest: &str, pointer: String, found: &mut Vec<Reading<'a>>) {
    if rest.is_empty() {
        found.push(Reading { pointer, value });
    } else if pointer.matches('/').count() >= DEEPEST {
        // Nothing is read there.
    } else if let Some(path) = rest.strip_prefix('.') {
        if let Some(members) = value.members() {
            below_object(&members, path, &pointer, found);
        }
    } else if let Some((index, rest)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'))
        && let Some(element) = element(value, index)
    {
        at_value(element, rest, step(&pointer, index), found);
    }
}

fn at_pointer<'a>(members: &Members<'a>, pointer: &str) -> Option<Reading<'a>> {
    let mut steps = pointer.strip_prefix('/')?.split('/').map(decoded).take(DEEPEST + 1);
    let first = members.get(&steps.next()?)?;
    let value = steps.try_fold(first, |value, name| match value.members() {
        Some(members) => members.get(&name),
        None => element(value, &name),
    })?;
    Some(Reading { pointer: pointer.to_owned(), value })
}

/// The element of an array at `index` in its only spelling.
fn element<'a>(value: Value<'a>, index: &str) -> Option<Value<'a>> {
    let number: usize = index.parse().ok()?;
    if number.to_string() == index { value.element(number) } else { None }
}

fn step(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn decoded(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}
