//! The reference page of the annotations, `docs/annotations.md`.

use super::{SECRET_PREFIX, TABLE};
use std::fmt::Write as _;

/// The page, as Markdown. A test holds the file in `docs/` to it.
#[must_use]
pub fn reference_page() -> String {
    let mut page = String::from(HEAD);
    let mut row = |key: &str, value: &str, default: &str, meaning: &str| {
        // Writing to a string cannot fail.
        let _infallible = writeln!(page, "| `{key}` | {value} | {default} | {meaning} |");
    };
    let binding = "where the content of the Secret name comes from: a reference, or YAML";
    row(&format!("{SECRET_PREFIX}<secret name>"), "a binding", "–", binding);
    for annotation in TABLE {
        row(annotation.key, annotation.value, annotation.default, annotation.meaning);
    }
    page.push_str(TAIL);
    page
}

const HEAD: &str = "# Annotations

<!-- Generated from contract/src/annotations.rs: change it there, then run `make generate`. -->

Alcove reads these annotations of a Pod, when the Pod is created. Every other key that begins with `alcove.dev/` or
`secret.alcove.dev/` is refused with the nearest known key, so that a typo never starts a Pod without its secrets. None
of them can be changed afterwards.

| annotation | value | default | meaning |
|---|---|---|---|
";

const TAIL: &str = r#"
## Bindings

The short form is one reference, `<store>:<key>[?<option>=<value>&…][#<property>]`, with URI escaping in every part:

```yaml
secret.alcove.dev/db-creds: vault:kv/app/db             # every property becomes a file
secret.alcove.dev/db-pass: vault:kv/app/db#password     # one file, named password
secret.alcove.dev/db-old: vault:kv/app/db?version=3     # a fixed version
```

The long form is YAML:

```yaml
secret.alcove.dev/web-tls: |
  type: kubernetes.io/tls          # optional; the built-in types are checked before anything is published
  data:                            # file name → reference, or an object
    tls.crt: vault:kv/web/tls#certificate
    tls.key: {ref: "vault:kv/web/tls#private_key", mode: 0400, encoding: raw}   # raw | base64 | base64url | hex
  dataFrom: ["vault:kv/web/extra"] # every property becomes a file; `data` wins over `dataFrom`, later over earlier
  keys: [user, password]           # names that dataFrom will yield, needed where env names must be known at admission
  refreshInterval: 5m              # 30s, 1.5h, 1d; 0s reads once
  optional: false                  # true: what the store does not have is left out
  immutable: false                 # true: read once and never again
```

The same fields are the `spec` of a SecretBinding and a ClusterSecretBinding, whose name is the Secret's name. A Secret
name of more than 63 characters does not fit into an annotation's key and needs one of these. Precedence: annotation,
SecretBinding, ClusterSecretBinding; they are never merged.

A property is the literal key first, then a nested path (`a.b[0].c`), then, if it begins with `/`, a JSON pointer.
"#;
