use alcove_resources::Kind as OurKind;
use alcove_webhook::objects::{Item, Kind, View};
use allocation_counter::measure;
use serde_json::{Value, json};

use super::shapes;

const BINDING: Kind = Kind::Ours(OurKind::SecretBinding);
const POLICY: Kind = Kind::Ours(OurKind::SecretPolicy);
const STORE: Kind = Kind::Ours(OurKind::ExternalStore);

/// How many objects are made of each shape: one more than some tables have room for, which then are twice as large.
const COUNT: usize = 57;

/// The share of a namespace, as docs/threat-model.md states it.
const SHARE: usize = 16 * 1024 * 1024;

fn document(kind: Kind, number: usize, rest: &Value) -> Value {
    let mut document = json!({
        "apiVersion": if matches!(kind, Kind::Ours(_)) { "alcove.dev/v1alpha1" } else { "v1" },
        "kind": kind.as_str(),
        "metadata": {"name": format!("o{number}"), "namespace": "shop"},
    });
    if kind == Kind::Namespace {
        document["metadata"] = json!({"name": format!("o{number}")});
    }
    merge(&mut document, rest);
    document
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            from.iter().for_each(|(name, value)| merge(into.entry(name.clone()).or_insert(Value::Null), value));
        }
        (into, from) => *into = from.clone(),
    }
}

/// What objects of one shape weigh, and how many bytes are allocated once they are kept.
fn kept(kind: Kind, rest: &Value) -> (usize, usize) {
    let documents: Vec<Value> = (0..COUNT).map(|number| document(kind, number, rest)).collect();
    let (mut view, mut weight) = (View::default(), 0);
    let measured = measure(|| {
        for (document, version) in documents.iter().zip(1..) {
            let item = Item::delivered(kind, document).unwrap();
            weight += item.weight();
            view.watched(item, version);
        }
    });
    drop(view);
    assert!(kind == Kind::Namespace || weight <= SHARE, "{kind}: some of them would be left out");
    (weight, usize::try_from(measured.bytes_current).unwrap())
}

#[test]
fn no_object_of_a_tenant_takes_more_memory_than_it_weighs() {
    let kinds = [
        (BINDING, shapes::bindings()),
        (POLICY, shapes::policies()),
        (STORE, shapes::stores()),
        (Kind::ServiceAccount, shapes::accounts()),
        (Kind::LimitRange, shapes::limit_ranges()),
        (Kind::Namespace, shapes::namespaces()),
    ];
    let mut wrong = Vec::new();
    for (kind, shapes) in kinds {
        for (shape, rest) in shapes {
            let (weight, taken) = kept(kind, &rest);
            // Nor is it to weigh many times as much, which would take from the namespace what it has.
            if taken > weight || weight > 4 * taken {
                wrong.push(format!("{kind}, {shape}: {} bytes weigh {}", taken / COUNT, weight / COUNT));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_full_namespace_takes_no_more_than_its_share() {
    for (kind, rest) in [
        (BINDING, shapes::data(256, &json!("v:k#p"))),
        (BINDING, shapes::data(1, &json!("v:k#p"))),
        (POLICY, shapes::rules(2, 64, "a*b")),
        (Kind::ServiceAccount, shapes::accounts().remove(3).1),
    ] {
        let (mut view, mut weight) = (View::default(), 0);
        let measured = measure(|| {
            for number in 0.. {
                let item = Item::delivered(kind, &document(kind, number, &rest)).unwrap();
                weight += item.weight();
                if weight > SHARE {
                    break;
                }
                view.watched(item, 1);
            }
        });
        let taken = usize::try_from(measured.bytes_current).unwrap();
        assert!((SHARE / 4..=SHARE).contains(&taken), "{kind}: {taken}");
        drop(view);
    }
}
